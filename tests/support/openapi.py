"""The OpenAPI document, and the tools that read it: a linter and a generator of clients.

The tools are fetched once, at the versions named here, into .cache/ with the ordinary clients of
npm and Maven. What cannot be had is Missing, with the reason.
"""

import os
import pathlib
import re
import shutil
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATH = ROOT / "openapi.yaml"
FOLDER = ROOT / "tests" / "integration" / "openapi"
CACHE = ROOT / ".cache"

REDOCLY_VERSION = "2.77.0"
GENERATOR_VERSION = "7.14.0"
FETCH_S = 300

METHODS = ("get", "put", "post", "patch", "delete")


class Missing(Exception):
    """A tool is not there and cannot be fetched; says why."""


def document():
    return yaml.safe_load(PATH.read_text())


def operations(doc):
    """Pairs of "METHOD /path" and the operation."""
    return {f"{method.upper()} {path}": item[method]
            for path, item in doc["paths"].items() for method in METHODS if method in item}


def follow(doc, thing):
    """What a $ref points at; the thing itself when it is none."""
    while isinstance(thing, dict) and "$ref" in thing:
        found = doc
        for step in thing["$ref"].removeprefix("#/").split("/"):
            found = found[step.replace("~1", "/").replace("~0", "~")]
        thing = found
    return thing


def table_rows(header_file, table):
    """The arguments of each ROW of a table in a C header, as text between the brackets."""
    text = (ROOT / "gateway" / header_file).read_text()
    body = text.split(f"#define {table}(ROW)", 1)[1].split("\n\n", 1)[0]
    body = re.sub(r"\\\n", " ", body)
    return [row.strip() for row in re.findall(r"ROW\(((?:[^()\"]|\"[^\"]*\")*)\)", body)]


def run(command, deadline_s=FETCH_S, **named):
    """Run a command; the finished process, its output as one text."""
    return subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=deadline_s, **named)


def need(command):
    if shutil.which(command) is None:
        raise Missing(f"{command} is not installed")


def fetch(command):
    """Run a command that brings something from elsewhere."""
    try:
        done = run(command)
    except subprocess.TimeoutExpired:
        raise Missing(f"{command[0]} took more than {FETCH_S} s") from None
    if done.returncode != 0:
        raise Missing(f"{command[0]} ended with {done.returncode}: {done.stdout[-400:]}")


def linter():
    """The command of the linter."""
    need("npm")
    folder = CACHE / f"redocly-{REDOCLY_VERSION}"
    program = folder / "node_modules" / ".bin" / "redocly"
    if not program.exists():
        fetch(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder,
               f"@redocly/cli@{REDOCLY_VERSION}"])
    return program


def generator():
    """The jar of the generator of clients."""
    need("java")
    folder = CACHE / "openapi-generator"
    jar = folder / f"openapi-generator-cli-{GENERATOR_VERSION}.jar"
    if not jar.exists():
        need("mvn")
        fetch(["mvn", "--quiet", "--batch-mode", "dependency:copy", f"-DoutputDirectory={folder}",
               f"-Dartifact=org.openapitools:openapi-generator-cli:{GENERATOR_VERSION}"])
    return jar


def generate(language, folder, **properties):
    """Write a client in a language into a folder that is made anew."""
    jar = generator()
    shutil.rmtree(folder, ignore_errors=True)
    parts = "apiTests=false,modelTests=false,apiDocs=false,modelDocs=false"
    command = ["java", "-Xmx512m", "-jar", jar, "generate", "--generator-name", language, "--input-spec", PATH,
               "--output", folder, "--global-property", parts]
    if properties:
        command += ["--additional-properties", ",".join(f"{k}={v}" for k, v in properties.items())]
    done = run(command, env={**os.environ, "JAVA_TOOL_OPTIONS": ""})
    assert done.returncode == 0, done.stdout[-4000:]
    return pathlib.Path(folder)
