"""Help, usage, and orrery sign."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
DATE = "Mon, 01 Jan 2024 00:00:00 GMT"


@pytest.mark.parametrize("args", [[], ["nonsense"], ["serve", "--nonsense"], ["serve"], ["account"], ["sign", "GET"],
                                  ["help", "nonsense"], ["up", "--port", "x"]])
def test_wrong_usage_ends_with_2_and_says_why(orrery, args):
    done = orrery(*args)
    assert done.returncode == 2
    assert done.stderr.startswith("orrery: ") and not done.stdout


@pytest.mark.parametrize("args", [["--help"], ["help"], ["help", "up"], ["serve", "--help"], ["up", "-h"],
                                  ["migrate", "--help"], ["sign", "--help"], ["account", "--help"]])
def test_help(orrery, args):
    done = orrery(*args)
    assert done.returncode == 0 and "usage: orrery" in done.stdout and not done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize("args", [["--version"], ["version"], ["up", "--version"]])
def test_version(orrery, args):
    done = orrery(*args)
    assert done.returncode == 0 and done.stdout.startswith("orrery 0.")


def test_a_full_disk_behind_standard_output_is_not_success(orrery):
    with open("/dev/full", "w") as full:
        done = subprocess.run([os.environ.get("ORRERY", str(ROOT / "build-asan" / "orrery")), "help"], stdout=full,
                              stderr=subprocess.PIPE)
    assert done.returncode == 1


def test_the_page_on_configuration_is_the_programs_own(orrery):
    done = orrery("help", "markdown")
    assert done.stdout == (ROOT / "docs" / "configuration.md").read_text()


# Signatures of protocol documentation, made with the emulators' key.
@pytest.mark.parametrize("method, path, signature", [
    ("GET", "/", "u8LyODOx9u9KLAZ0XLJJonoe6JxFUWrh9etqqU9xL0I%3D"),
    ("post", "/dbs/d/colls/c/docs", "Ju6uVbcXWxFi%2BGRGZUjUuloom9YxP49Zs%2BoWl45G%2B%2FI%3D"),
    ("GET", "/dbs/d/colls/c/docs/a%20b", "pDPDdYRO2zG6mux9Ae0Se0xy5y%2B2ST4nUl6cWwWCKzU%3D"),
    ("GET", "/dbs/d/colls/c/docs/a%20b?x=1", "pDPDdYRO2zG6mux9Ae0Se0xy5y%2B2ST4nUl6cWwWCKzU%3D"),
    ("POST", "/dbs", "OBAtWkLJj41BUMyPSJDPEFMF5aF1P3%2Be%2BqSzqq75wNE%3D"),
    ("PUT", "/offers/ABCD", "Y34u46nQVZyH8TYIXZe8Vqgsp3qhkMn5qXKo7e7hvZg%3D"),
])
def test_signatures(orrery, method, path, signature):
    done = orrery("sign", method, path, "--date", DATE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"authorization: type%3Dmaster%26ver%3D1.0%26sig%3D{signature}", f"x-ms-date: {DATE}", "x-ms-version: 2020-07-15"]


@pytest.mark.parametrize("args", [["GET", "/nowhere"], ["STEAL", "/"], ["GET", "/dbs/%zz"], ["GET", "/", "--key", "short"],
                                  ["GET", "/", "--key-file", "/nonexistent"]])
def test_what_cannot_be_signed(orrery, args):
    done = orrery("sign", *args)
    assert done.returncode == 1 and done.stderr.startswith("orrery: ") and not done.stdout


def test_key_files_and_keys_sign_alike(orrery, tmp_path):
    key = "A" * 86 + "=="
    (tmp_path / "key").write_text(f"primary={key}\n")
    by_file = orrery("sign", "GET", "/dbs", "--date", DATE, "--key-file", tmp_path / "key")
    by_key = orrery("sign", "GET", "/dbs", "--date", DATE, "--key", key)
    by_default = orrery("sign", "GET", "/dbs", "--date", DATE)
    assert by_file.stdout == by_key.stdout != by_default.stdout


def test_curl_commands_survive_a_shell(orrery, tmp_path):
    """The id once was not quoted, and a shell would have run what stood in it."""
    (tmp_path / "curl").write_text('#!/bin/sh\nfor a in "$@"; do echo "$a"; done\n')
    (tmp_path / "curl").chmod(0o755)
    path = "/dbs/it's$(touch pwned)"
    done = orrery("sign", "--curl", "--endpoint", "http://localhost:1/", "get", path)
    said = subprocess.run(["sh", "-c", done.stdout], cwd=tmp_path, env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
                          capture_output=True, text=True).stdout.splitlines()
    assert said[:2] == ["-X", "GET"] and said[-1] == "http://localhost:1" + path
    assert not (tmp_path / "pwned").exists()
