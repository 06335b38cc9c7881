"""The parts of scripts/test: which there are, what each waits for, and the sum of what they found.

Parts run at the same time, two more than there are cores. Each has a deadline, writes its own log
under .cache/logs/, and ends as counts of passed, failed and skipped tests.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[1]
INTEGRATION = ROOT / "tests" / "integration"
BUILD = ROOT / "build"
BUILD_ASAN = ROOT / "build-asan"
BUILD_FUZZ = ROOT / "build-fuzz"
BUILD_TSAN = ROOT / "build-tsan"
LOGS = ROOT / ".cache" / "logs"
FUZZ_SEED = 1  # the same ground each time: what is found, is found before a change goes in; long runs by hand go elsewhere
FUZZ_S = 5  # of a fuzzer, and of those whose ground is wide:
FUZZ_LONGER_S = {"fuzz_answer": 40, "fuzz_emit": 20, "fuzz_query": 20}
KILLS = 10
USAGE = ROOT / "tests" / "support" / "usage.py"
DEAREST = 15  # tests of a part whose times its log tells
LINE_MAX = 400  # of a log that is shown
SLOTS = max(2, os.cpu_count() or 2) + 2  # parts at a time; tests of deadlines wait more than they work
LONG = ["build_asan", "make_sdk_rust", "regions", "membership", "openapi", "consistency", "api", "program", "tsan", "crash_regions",
        "build_release", "fuzz", "world_regions", "query"]  # what takes longest, first

sys.path.insert(0, str(ROOT / "tests"))

Counts = collections.namedtuple("Counts", "passed failed skipped")


class Part:
    """Something to run: a function that returns Counts, after the parts it needs."""

    def __init__(self, name, work, needs=()):
        self.name, self.work, self.needs = name, work, needs
        self.counts = None  # until it has ended
        self.note = ""
        self.seconds = 0
        self.processor_s = 0  # of all processes that its commands started

    @property
    def log(self):
        return LOGS / f"{self.name}.log"

    def run(self):
        began = time.monotonic()
        try:
            if any(need.counts.failed for need in self.needs):
                counts, self.note = Counts(0, 1, 0), "not run: what it needs failed"
            else:
                counts = self.work(self)
        except Exception as error:  # a part that breaks is a failure, and the others go on
            counts, self.note = Counts(0, 1, 0), f"{type(error).__name__}: {error}"
        self.seconds = time.monotonic() - began
        self.counts = counts
        report(self)

    def command(self, command, deadline_s, env=None):
        """Run a command into the part's log; its exit status, or 124 when it took too long."""
        with open(self.log, "ab") as log:
            log.write(f"$ {' '.join(map(str, command))}\n".encode())
            log.flush()
            used, tell = os.pipe()
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", USAGE, str(tell), *[str(word) for word in command]], cwd=ROOT,
                env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True, pass_fds=[tell])
            os.close(tell)
            try:
                return process.wait(deadline_s)
            except subprocess.TimeoutExpired:
                # SIGINT first: pytest then stops its servers and says where it was.
                for number, grace_s in ((signal.SIGINT, 30), (signal.SIGKILL, 10)):
                    try:
                        os.killpg(process.pid, number)
                        process.wait(grace_s)
                        break
                    except (ProcessLookupError, subprocess.TimeoutExpired):
                        pass
                log.write(f"stopped after {deadline_s} s\n".encode())
                return 124
            finally:
                with open(used, "rb") as told:
                    self.processor_s += float(told.read() or 0)


PRINTING = threading.Lock()


def run_parts(parts, slots):
    """Each when what it needs is done and a slot is free; the long ones first, so that none is left alone at the end."""
    waiting = sorted(parts, key=lambda part: LONG.index(part.name) if part.name in LONG else len(LONG))
    changed = threading.Condition()
    running = set()

    def run(part):
        part.run()
        with changed:
            running.remove(part)
            changed.notify()

    with changed:
        while waiting or running:
            ready = [part for part in waiting if all(need.counts is not None for need in part.needs)]
            for part in ready[:slots - len(running)]:
                waiting.remove(part)
                running.add(part)
                threading.Thread(target=run, args=(part,)).start()
            changed.wait()


def report(part):
    counts = part.counts
    with PRINTING:
        print(f"{part.name:<16} {counts.passed:5} passed {counts.failed:4} failed {counts.skipped:4} skipped"
              f"  {part.seconds:6.1f} s {part.processor_s:6.1f} s of processor  {part.note}".rstrip())
        if counts.failed and part.log.exists():
            text = part.log.read_bytes().decode(errors="replace").splitlines()
            print("\n".join(f"  {part.name}| {line[:LINE_MAX]}" for line in text[-150:]))
        sys.stdout.flush()


def one(ok):
    return Counts(1, 0, 0) if ok else Counts(0, 1, 0)


# Builds


def meson_build(part, directory, options, targets=(), env=None):
    if not (directory / "build.ninja").exists():
        if part.command(["meson", "setup", directory, ROOT, *options], 120, env) != 0:
            return Counts(0, 1, 0)
    return one(part.command(["ninja", "-C", directory, *targets], 900, env) == 0)


def build_asan(part):
    return meson_build(part, BUILD_ASAN, ["-Db_sanitize=address,undefined", "-Db_lundef=false"])


def build_release(part):
    return meson_build(part, BUILD, ["--buildtype=release"])


def prepare_sdks(names):
    def work(part):
        part.command([sys.executable, "-m", "support.sdk", *names], 1500, {"PYTHONPATH": str(ROOT / "tests")})
        return Counts(0, 0, 0)  # what could not be made shows as failed or skipped scenarios
    return work


# Checks of the sources


def layers(part):
    return one(part.command([sys.executable, ROOT / "scripts" / "check_layers.py"], 60) == 0)


def sources():
    done = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.c", "*.h"], cwd=ROOT, capture_output=True, text=True,
        timeout=60, check=True)
    return [name for name in done.stdout.splitlines() if (ROOT / name).exists()]


def formatting(part):
    tool = shutil.which("clang-format-14") or "clang-format"  # each version sets some lines its own way
    return one(part.command([tool, "--dry-run", "-Werror", *sources()], 120) == 0)


# Tests in C


def unit(part):
    status = part.command(
        ["meson", "test", "-C", BUILD_ASAN, "--no-rebuild", "--print-errorlogs"], 600,
        {"ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"})
    passed = failed = skipped = 0
    for line in (BUILD_ASAN / "meson-logs" / "testlog.json").read_text().splitlines():
        found = json.loads(line)
        counts = program_counts(found)
        passed, failed, skipped = passed + counts.passed, failed + counts.failed, skipped + counts.skipped
    if status != 0 and failed == 0:
        failed = 1
    return Counts(passed, failed, skipped)


def program_counts(found):
    """A cmocka program counts its tests; any other one is a single test."""
    output = (found.get("stdout") or "") + (found.get("stderr") or "")
    passed = sum(int(n) for n in re.findall(r"\[  PASSED  \] (\d+) test", output))
    failed = sum(int(n) for n in re.findall(r"\[  FAILED  \] (\d+) test", output))
    skipped = sum(int(n) for n in re.findall(r"\[  SKIPPED \] (\d+) test", output))
    if found["result"] in ("OK", "EXPECTEDFAIL"):
        return Counts(passed or 1, failed, skipped)
    if found["result"] == "SKIP":
        return Counts(0, 0, 1)
    return Counts(passed, failed or 1, skipped)


def fuzz(part):
    """Some seconds of every fuzzer: enough to see that it runs, that the seeds do no harm, and to go a little beyond them."""
    env = {"CC": "clang"}
    names = [path.stem for path in sorted((ROOT / "tests" / "fuzz").glob("fuzz_*.c"))]
    # The fuzzers alone: clang warns of things that gcc, which everything else is for, takes.
    built = meson_build(part, BUILD_FUZZ, [
        "-Dfuzz=true", "-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dc_args=-fsanitize=fuzzer-no-link"],
        [f"tests/fuzz/{name}" for name in names], env)
    if built.failed:
        return built
    passed = failed = 0
    for target in fuzz_targets():
        name = pathlib.Path(target).stem
        seeds = [ROOT / "tests" / "fuzz" / "corpus" / name.removeprefix("fuzz_")]
        words = []
        if name in FUZZ_LONGER_S:
            seeds.append(query_seeds())
            words = [f"-dict={ROOT / 'tests' / 'fuzz' / 'query.dict'}"]
        found = BUILD_FUZZ / "found" / name
        found.mkdir(parents=True, exist_ok=True)
        seconds = FUZZ_LONGER_S.get(name, FUZZ_S)
        status = part.command(
            [target, f"-max_total_time={seconds}", f"-seed={FUZZ_SEED}", "-timeout=5", f"-artifact_prefix={found}/crash-", *words, found,
             *[folder for folder in seeds if folder.exists()]], seconds + 60)
        passed, failed = passed + (status == 0), failed + (status != 0)
    return Counts(passed, failed, 0)


def query_seeds():
    """A folder with the query of every case, one in a file."""
    from support import query_cases

    folder = BUILD_FUZZ / "queries"
    folder.mkdir(exist_ok=True)
    for case in query_cases.read_all()[1]:
        (folder / case.name.replace(":", "-")).write_text(case.query, encoding="utf-8")
    return folder


def fuzz_targets():
    done = subprocess.run(["meson", "introspect", "--targets", str(BUILD_FUZZ)], capture_output=True, text=True,
                          timeout=60, check=True)
    return sorted(target["filename"][0] for target in json.loads(done.stdout)
                  if target["type"] == "executable" and target["name"].startswith("fuzz_"))


# Tests in Python


def pytest_part(names, deadline_s, env=None):
    def work(part):
        result = LOGS / f"{part.name}.xml"
        result.unlink(missing_ok=True)
        status = part.command(
            [sys.executable, "-m", "pytest", "-c", INTEGRATION / "pytest.ini", "--rootdir", ROOT, "-q", "-rs", "--tb=short",
             f"--durations={DEAREST}", "--durations-min=0.5", f"--junitxml={result}", *[INTEGRATION / name for name in names]], deadline_s, env)
        counts = junit_counts(result) if result.exists() else Counts(0, 0, 0)
        if status not in (0, 1) and counts.failed == 0:
            counts = counts._replace(failed=1)
            part.note = f"pytest ended with {status}"
        return counts
    return work


def tsan(part):
    """What threads share, under the thread sanitizer."""
    names = ["loop", "throughput"]
    built = meson_build(part, BUILD_TSAN, ["-Db_sanitize=thread", "-Db_lundef=false"],
                        ["orrery", *[f"tests/unit/test_{name}" for name in names]])
    if built.failed:
        return built
    units = [one(part.command([BUILD_TSAN / "tests" / "unit" / f"test_{name}"], 120) == 0) for name in names]
    served = pytest_part(["threads", "api/test_throughput.py", "program/test_certificates.py", "crash/test_together.py"],
                         600, {"ORRERY": str(BUILD_TSAN / "orrery"), "TSAN_OPTIONS": "second_deadlock_stack=1"})(part)
    return total([*units, served])


def total(counts):
    return Counts(*(sum(column) for column in zip(*counts)))


def junit_counts(path):
    passed = failed = skipped = 0
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            failed += 1
        elif "skipped" in kinds:
            skipped += 1
        else:
            passed += 1
    return Counts(passed, failed, skipped)


def skip_reasons(parts):
    """Why tests were skipped, and how many for each reason."""
    reasons = collections.Counter()
    for part in parts:
        result = LOGS / f"{part.name}.xml"
        if part.counts.skipped and result.exists():
            for skip in xml.etree.ElementTree.parse(result).iter("skipped"):
                reasons[skip.get("message")] += 1
    return reasons


# All together


def longer(name, kills, soak_minutes):
    """Seconds that a part may take beyond what it takes by itself."""
    return {"crash": 10 * kills, "consistency": 180 * soak_minutes}.get(name, 0)


def all_parts(kills, soak_minutes):
    asan = Part("build_asan", build_asan)
    release = Part("build_release", build_release)
    folders = sorted(p.name for p in INTEGRATION.iterdir() if p.is_dir() and any(p.glob("test_*.py")))
    sdks = [name for name in folders if name.startswith("sdk_")]
    parts = [asan]
    prepared = {}
    for name in sdks:
        prepared[name] = Part("make_" + name, prepare_sdks([name.removeprefix("sdk_")]))
        parts.append(prepared[name])
    parts += [Part("layers", layers), Part("format", formatting), Part("unit", unit, [asan])]
    # Failing allocations are put under the release build: a sanitizer has an allocator of its own.
    parts += [Part(name, pytest_part([name], 900 + longer(name, kills, soak_minutes)),
                   [asan, release] if name == "memory" else [asan]) for name in folders if name not in sdks]
    parts += [Part(name, pytest_part([name], 600), [asan, prepared[name]]) for name in sdks]
    if (ROOT / "tests" / "fuzz" / "meson.build").exists():
        parts.append(Part("fuzz", fuzz, [asan]))  # after it, so that two builds do not share the cores
    parts += [Part("tsan", tsan, [asan]), release]
    return parts


def chosen(parts, pattern):
    """The parts whose name matches, and what they need."""
    wanted = [part for part in parts if re.search(pattern, part.name)]
    kept = set(wanted) | {need for part in wanted for need in part.needs}
    return [part for part in parts if part in kept]


def main():
    options = argparse.ArgumentParser(prog="scripts/test")
    options.add_argument("--only", metavar="PATTERN", default="", help="parts whose name matches")
    options.add_argument("--list", action="store_true", help="name the parts")
    options.add_argument("--kills", metavar="N", type=int, default=KILLS,
                         help=f"how often the part 'crash' kills a gateway or PostgreSQL under load [{KILLS}]")
    options.add_argument("--soak", metavar="MINUTES", type=float, default=0,
                         help="the part 'consistency' alone, about that long, with seed after seed")
    options = options.parse_args()
    os.environ["CRASH_KILLS"] = str(options.kills)
    os.environ["SOAK_MINUTES"] = str(options.soak)
    known = all_parts(options.kills, options.soak)
    parts = chosen(known, options.only or ("^consistency$" if options.soak else ""))
    if options.list or not parts:
        print("\n".join(part.name for part in parts or known))
        return 0 if options.list else 2
    LOGS.mkdir(parents=True, exist_ok=True)
    for part in parts:
        part.log.unlink(missing_ok=True)
    began = time.monotonic()
    run_parts(parts, SLOTS)
    for reason, count in skip_reasons(parts).items():
        print(f"skipped {count}: {reason}")
    print(f"{sum(part.processor_s for part in parts):.0f} s of processor time in {time.monotonic() - began:.0f} s")
    found = total(part.counts for part in parts)
    print(f"{found.passed} passed, {found.failed} failed" + (f", {found.skipped} skipped" if found.skipped else ""))
    return 1 if found.failed or not found.passed else 0


if __name__ == "__main__":
    sys.exit(main())
