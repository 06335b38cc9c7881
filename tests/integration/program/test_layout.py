"""orrery up with names, latencies and PostgreSQL servers of one's own; the files for containers."""

import json
import pathlib
import re
import subprocess
import urllib.parse

import pytest
import yaml
from support.etcd import Etcd
from support.gateway import program
from support.postgres import Postgres
from support.up import Up, eventually

ROOT = pathlib.Path(__file__).resolve().parents[3]


def environment_of(pid):
    return dict(entry.split("=", 1) for entry in pathlib.Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in entry)


def names(up):
    return [region["name"] for region in up.ready["regions"]]


def test_names_and_one_latency_for_all(folder):
    with Up(folder / "data", "--region-names", "Left, Right-Hand Side", "--latency-ms", "40", regions=2) as up:
        assert names(up) == ["Left", "Right-Hand Side"]
        assert sorted(path.name for path in (folder / "data").iterdir() if (path / "pg").exists()) == ["left", "right-hand-side"]
        for region in up.ready["regions"]:
            told = environment_of(region["gatewayPid"])
            assert told["ORRERY_LINK_LATENCY"] == "Left>Right-Hand Side=40,Right-Hand Side>Left=40"
            assert told["ORRERY_ALLOW_FAULTS"] == "yes"
        up.stop()


def test_servers_of_ones_own(folder):
    with Postgres() as first, Postgres() as second:
        layout = folder / "regions.json"
        layout.write_text(json.dumps({
            "regions": [{"name": "Here", "database": first.conninfo()}, {"name": "There", "database": second.conninfo()}],
            "latencyMs": {"Here": {"There": 20}}}))
        for _ in range(2):  # the second time they know the account
            with Up(folder / "data", "--regions-file", str(layout), regions=2) as up:
                assert names(up) == ["Here", "There"] and up.ready["replicating"]
                assert all("database" not in region and "postgresPid" not in region for region in up.ready["regions"])
                assert len(up.children()) == 2  # gateways alone
                assert environment_of(up.region()["gatewayPid"])["ORRERY_LINK_LATENCY"] == "Here>There=20,There>Here=20"
                up.stop()
        for ordinal, server in ((1, first), (2, second)):
            with server.connect() as connection:
                assert connection.execute("select ordinal from orrery.region_self").fetchone() == (ordinal,)


def test_a_private_server_beside_one_of_ones_own(folder):
    with Postgres() as server:
        layout = folder / "regions.json"
        layout.write_text(json.dumps({"regions": [{"name": "Ours"}, {"name": "Theirs", "database": server.conninfo()}]}))
        with Up(folder / "data", "--regions-file", str(layout), regions=2) as up:
            assert "postgresPid" in up.region(0) and "postgresPid" not in up.region(1)
            assert "ORRERY_LINK_LATENCY" not in environment_of(up.region()["gatewayPid"])
            up.stop()


def test_a_gateway_whose_database_is_away_is_started_again(folder):
    with Postgres() as server:
        layout = folder / "regions.json"
        layout.write_text(json.dumps({"regions": [{"name": "Only", "database": server.conninfo()}]}))
        with Up(folder / "data", "--regions-file", str(layout)) as up:
            server.stop()
            before = up.region()["gatewayPid"]
            subprocess.run(["kill", "-9", str(before)], check=True)
            server.start()
            eventually(lambda: up.child("gateway") not in (0, before) and "gateway is back" in up.said(), "the gateway is back", 60)
            up.stop()


R = '{"regions":[{"name":"a"},{"name":"b"}]'


@pytest.mark.parametrize("text, culprit", [
    ("", "regions file"), ("[]", "object"), ("{}", "regions"), ('{"regions":[]}', "empty"), ('{"regions":{}}', "array"),
    ('{"regions":[1]}', "objects"), ('{"regions":[{}]}', "name"), ('{"regions":[{"name":7}]}', "name"),
    ('{"regions":[{"name":"a/b"}]}', "letters"), ('{"regions":[{"name":"a b"},{"name":"A-b"}]}', "alike"),
    ('{"regions":[{"name":"' + "a" * 65 + '"}]}', "too long"), ('{"regions":[{"name":"a","port":1}]}', "port"),
    ('{"regions":[{"name":"a","database":null}]}', "database"), ('{"region":[]}', "region"),
    ('{"regions":[' + ",".join('{"name":"%d"}' % n for n in range(6)) + "]}", "at most 5"),
    (R + ',"latencyMs":-1}', "latencyMs"), (R + ',"latencyMs":60001}', "latencyMs"), (R + ',"latencyMs":"x"}', "latencyMs"),
    (R + ',"latencyMs":{"c":{"a":1}}}', "c"), (R + ',"latencyMs":{"a":{"c":1}}}', "c"), (R + ',"latencyMs":{"a":{"a":1}}}', "itself"),
    (R + ',"latencyMs":{"a":1}}', "objects"), (R + ',"latencyMs":{"a":{"b":1.5}}}', "latencyMs"),
])
def test_a_wrong_file_names_what_is_wrong(folder, orrery, text, culprit):
    layout = folder / "regions.json"
    layout.write_text(text)
    done = orrery("up", "--data", folder / "data", "--regions-file", layout)
    assert done.returncode == 1 and culprit in done.stderr, done.stderr
    assert not (folder / "data").exists()


@pytest.mark.parametrize("flags, culprit", [
    (["--regions", "3", "--region-names", "a,b"], "--regions is 3"), (["--region-names", "a,,b"], "region name"),
    (["--region-names", "a,A"], "alike"), (["--region-names", "a,b,c,d,e,f"], "at most 5"),
    (["--regions-file", "/nowhere"], "/nowhere"), (["--regions-file", "x", "--region-names", "a"], "--region-names"),
    (["--regions-file", "x", "--latency-ms", "0"], "--latency-ms"), (["--latency-ms", "60001"], "latency-ms"),
])
def test_wrong_flags(folder, orrery, flags, culprit):
    done = orrery("up", "--data", folder / "data", *flags)
    assert done.returncode != 0 and culprit in done.stderr, done.stderr
    assert not (folder / "data").exists()


@pytest.mark.parametrize("text", ["a", "a>b", "a>b=", "a>b=0", "a>=1", ">b=1", "a>b=1,", "a>b=60001", "a>b=x"])
def test_wrong_latencies_of_a_gateway(orrery, text):
    done = orrery("serve", "--database", "host=/nowhere", "--link-latency", text)
    assert done.returncode != 0 and "FROM>TO=MS" in done.stderr


# ---- files for containers: there is no engine here to run them ----

def compose():
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def value(command, flag):
    return command[command.index(flag) + 1]


def test_the_compose_file_and_its_regions_agree():
    found = compose()
    services, own = found["services"], found["services"]["orrery"]
    databases = {name for name, service in services.items() if service["image"].startswith("postgres:")}
    assert set(services) == databases | {"etcd", "orrery"}
    assert own["depends_on"] == {name: {"condition": "service_healthy"} for name in databases | {"etcd"}}
    for name in databases:
        assert services[name]["healthcheck"]["test"] and services[name]["environment"]["POSTGRES_DB"] == "orrery"
    mounted = dict(volume.split(":")[:2] for service in services.values() for volume in service["volumes"])
    assert {source for source in mounted if not source.startswith(".")} == set(found["volumes"])
    file = value(own["command"], "--regions-file")
    [source] = [source for source, target in mounted.items() if target == file]
    layout = json.loads((ROOT / source).read_text())
    assert {urllib.parse.urlsplit(region["database"]).hostname for region in layout["regions"]} == databases
    assert len({service["volumes"][0] for name, service in services.items() if name in databases}) == len(databases)
    of_etcd = services["etcd"]["command"]
    assert ("FROM", f"debian:12-slim AS {services['etcd']['build']['target']}") in map(tuple, instructions())
    known = subprocess.run(["etcd", "--help"], capture_output=True, text=True, timeout=60).stdout
    assert services["etcd"]["healthcheck"]["test"] and all(f"{flag} '" in known for flag in of_etcd[1::2])
    assert value(of_etcd, "--data-dir") == services["etcd"]["volumes"][0].split(":")[1]
    assert value(own["command"], "--etcd") == value(of_etcd, "--advertise-client-urls") == "http://etcd:2379"
    assert urllib.parse.urlsplit(value(of_etcd, "--listen-client-urls")).port == 2379
    ports = sorted(int(port.split(":")[0]) for port in own["ports"])
    assert ports == [8081 + n for n in range(len(databases))] + [8181 + n for n in range(len(databases))]
    assert all(port.split(":")[0] == port.split(":")[1] for port in own["ports"])  # clients are told these numbers


def test_the_regions_of_the_compose_file_are_understood(folder):
    """The program reads the files as they are, but for the servers, which are here; etcd knows the hub when it has started."""
    layout = json.loads((ROOT / "compose.regions.json").read_text())
    with Postgres() as first, Postgres() as second, Postgres() as third, Etcd() as etcd:
        for region, server in zip(layout["regions"], (first, second, third)):
            region["database"] = server.conninfo()
        (folder / "regions.json").write_text(json.dumps(layout))
        command = compose()["services"]["orrery"]["command"]
        flags = dict(zip(command[1::2], command[2::2], strict=True))
        assert set(flags) == {"--data", "--regions-file", "--listen", "--etcd"}
        with Up(folder / "data", "--regions-file", str(folder / "regions.json"), "--listen", flags["--listen"], "--etcd", etcd.urls,
                regions=3) as up:
            assert names(up) == [region["name"] for region in layout["regions"]]
            assert [region["https"] for region in up.ready["regions"]] == [f"https://localhost:{up.port + n}/" for n in range(3)]
            eventually(lambda: etcd.get("/orrery/orrery/hub") is not None, "etcd knows the hub", 60)
            assert json.loads(etcd.get("/orrery/orrery/hub"))["region"] == names(up)[0]
            up.stop()


def instructions():
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    return [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]


def test_the_dockerfile_builds_as_scripts_run_does():
    found = instructions()
    assert {word for word, _ in found} <= {"FROM", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT"}
    run = (ROOT / "scripts" / "run").read_text()
    for step in ('packages_need "${build_packages[@]}"', 'build "$root/build" orrery -- --buildtype=release'):
        assert any(word == "RUN" and step in rest for word, rest in found)
        assert step in run or step.rstrip(")") in run.replace(' "${server_packages[@]}"', "")
    for word, rest in found:
        if word == "RUN":
            assert subprocess.run(["bash", "-n", "-c", rest]).returncode == 0, rest
        if word == "COPY" and not rest.startswith("--from"):
            assert (ROOT / rest.split()[0]).exists(), rest
    assert json.loads(dict(found)["ENTRYPOINT"]) == ["orrery"]


def test_the_dockerfile_has_the_libraries_that_the_program_needs():
    needed = subprocess.run(["readelf", "-d", program()], capture_output=True, text=True, check=True).stdout
    libraries = [name for name in re.findall(r"NEEDED.*\[(.*)\]", needed) if not re.match(r"lib(asan|ubsan|c|m|gcc_s)\.so|ld-", name)]
    installed = " ".join(rest for word, rest in instructions() if word == "RUN")
    for library in libraries:
        owner = subprocess.run(["dpkg", "-S", f"*/{library}"], capture_output=True, text=True).stdout
        packages = {line.split(":")[0] for line in owner.splitlines()}
        if not packages:
            pytest.skip("no Debian packages here")
        assert any(re.search(rf"\b{re.escape(package)}(\s|$)", installed) for package in packages), (library, packages)
