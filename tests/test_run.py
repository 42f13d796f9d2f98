"""Both. Holds ./run to what it chooses and calls, in a copy whose uv and Pythons are stand-ins that keep a log."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shop.running import until

ROOT = Path(__file__).resolve().parent.parent

# Answers --version, says where a Python is from $HAVE, and for `sync` makes the environment's python.
UV = """#!/bin/sh
echo "uv $*" >>"$LOG"
case $1 in
    --version) exit "${UV_BROKEN:-0}" ;;
    python)
        for version; do :; done
        case " $HAVE " in *" $version "*) echo "/somewhere/python$version" ;; *) exit 2 ;; esac
        ;;
    sync)
        echo "downloads are ${UV_PYTHON_DOWNLOADS:-allowed}" >>"$LOG"
        mkdir -p "$UV_PROJECT_ENVIRONMENT/bin"
        for tool in python ruff mypy lint-imports; do
            ln -sf "$TOOL" "$UV_PROJECT_ENVIRONMENT/bin/$tool"
        done
        ;;
esac
"""
# Any tool of an environment: logs how it was called, and fails if its arguments contain $FAIL, ends who called it if
# they contain $LOSE, takes a minute if $SLOW is set.
TOOL = """#!/bin/sh
case "$1 $2" in "-c "*pytest.main*) shift 2 && set -- -m pytest "$@" ;; esac
echo "${0#$PWD/} $* ${TASKS_CELERY_WITHOUT:+WITHOUT $TASKS_CELERY_WITHOUT}\
${TASKS_CELERY_ENDINGS:+ENDINGS $TASKS_CELERY_ENDINGS}" >>"$LOG"
echo "this is ${0#$PWD/} $*"
[ -z "${SLOW:-}" ] || { echo "slow $$" >>"$LOG" && exec sleep 60; }
case "$0 $*" in *"${LOSE:-nothing is lost}"*) kill -KILL $PPID ;; esac
case "$0 $*" in *"${FAIL:-nothing fails}"*) exit 1 ;; esac
"""


class Checkout:
    """A copy of ./run with stand-ins for everything it calls."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "checkout"
        self.bin = directory / "bin"
        self.log = directory / "log"
        for made in (self.root, self.bin):
            made.mkdir()
        shutil.copy(ROOT / "run", self.root)
        for name in ("sh", "env", "cat", "mkdir", "ln", "date", "dirname", "mktemp", "rm", "rmdir"):
            (self.bin / name).symlink_to(shutil.which(name) or name)
        # The stand-ins print so fast that who waits for the other's turn need not wait a second.
        self.script(self.bin / "sleep", f'#!/bin/sh\n[ "$1" != 1 ] || set -- 0.01\nexec {shutil.which("sleep")} "$1"\n')
        self.tool = self.script(directory / "tool", TOOL)
        self.uv = self.script(self.bin / "uv", UV)

    def script(self, path: Path, text: str) -> Path:
        """Write an executable file."""
        path.write_text(text)
        path.chmod(0o755)
        return path

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Call ./run with nothing but the stand-ins on PATH."""
        environ = {"PATH": str(self.bin), "LOG": str(self.log), "TOOL": str(self.tool), "HAVE": "", **environ}
        command = [str(self.root / "run"), *arguments]
        return subprocess.run(command, env=environ, cwd="/", capture_output=True, text=True, timeout=60, check=False)

    def calls(self, of: str) -> list[str]:
        """Return the calls logged so far that contain the words."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line.strip() for line in lines if of in line]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


# --- what it refuses ----------------------------------------------------------------------------------------------


def test_an_unknown_verb_is_refused_with_the_list_of_known_ones(checkout: Checkout) -> None:
    told = checkout.run("dance")
    assert told.returncode == 2
    assert "unknown verb: dance" in told.stderr
    assert "demo [--once]" in told.stderr


def test_full_takes_no_further_arguments(checkout: Checkout) -> None:
    told = checkout.run("test", "--full", "-x")
    assert told.returncode == 1
    assert "takes no further arguments" in told.stderr


def test_full_without_any_of_its_pythons_is_no_success(checkout: Checkout) -> None:
    told = checkout.run("test", "--full", HAVE="3.14")
    assert told.returncode == 1
    assert "there is nothing to test with" in told.stderr


def test_without_uv_and_without_a_python_that_has_venv_it_says_what_to_install(checkout: Checkout) -> None:
    checkout.uv.unlink()
    told = checkout.run("demo")
    assert told.returncode == 1
    assert "apt install python3-venv" in told.stderr


def test_bench_without_a_benchmark_says_so(checkout: Checkout) -> None:
    told = checkout.run("bench")
    assert told.returncode == 1
    assert "there is no benchmark yet" in told.stderr


# --- what it chooses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("have", "version", "django"),
    [
        ("3.11 3.12 3.13 3.14", "3.12", "django60"),
        ("3.11 3.13 3.14", "3.13", "django60"),
        ("3.11 3.14", "3.14", "django60"),
        ("3.11", "3.11", "django52"),
    ],
)
def test_the_best_installed_python_is_taken_and_none_downloaded(
    have: str, version: str, django: str, checkout: Checkout
) -> None:
    assert checkout.run("demo", "--once", HAVE=have).returncode == 0
    (sync,) = checkout.calls("uv sync")
    assert f"--python /somewhere/python{version} " in f"{sync} "
    assert sync.endswith(f"--group {django} --group demo --group beat")
    assert checkout.calls("downloads are") == ["downloads are never"]
    assert checkout.calls("example.demo") == [f".venvs/{django}/bin/python -m example.demo --once"]


def test_with_no_python_installed_uv_may_download_one(checkout: Checkout) -> None:
    told = checkout.run("demo")
    assert "uv downloads 3.12" in told.stderr
    assert "--python 3.12 --group django60" in checkout.calls("uv sync")[0]
    assert checkout.calls("downloads are") == ["downloads are allowed"]


def test_a_python_on_path_that_does_not_run_is_passed_over(checkout: Checkout) -> None:
    checkout.script(checkout.bin / "python3.12", "#!/bin/sh\nexit 127\n")
    checkout.script(checkout.bin / "python3.13", "#!/bin/sh\necho /shown/by/itself\n")
    assert checkout.run("demo").returncode == 0
    assert "--python /shown/by/itself --group django60" in checkout.calls("uv sync")[0]


def test_without_uv_one_is_installed_into_a_private_venv_and_kept(checkout: Checkout) -> None:
    checkout.uv.rename(checkout.root / "uv")
    checkout.script(checkout.bin / "cp", f'#!/bin/sh\nexec {shutil.which("cp")} "$@"\n')
    checkout.script(
        checkout.bin / "python3",
        '#!/bin/sh\necho "python3 $*" >>"$LOG"\ncase "$*" in *"-m venv"*)\n'
        'mkdir -p .venvs/uv/bin && ln -sf "$0" .venvs/uv/bin/python ;;\n*"pip install"*) cp uv .venvs/uv/bin/uv ;; esac\n',
    )
    assert checkout.run("demo", HAVE="3.11").returncode == 0
    assert len(checkout.calls("pip install")) == 1
    assert checkout.run("demo", HAVE="3.11").returncode == 0
    assert len(checkout.calls("pip install")) == 1
    assert len(checkout.calls("example.demo")) == 2


def test_an_active_venv_does_not_matter(checkout: Checkout) -> None:
    checkout.script(checkout.bin / "uv", UV.replace('echo "uv $*"', 'echo "uv $* [${VIRTUAL_ENV:-none}]"'))
    assert checkout.run("demo", HAVE="3.12", VIRTUAL_ENV="/active").returncode == 0
    assert checkout.calls("/active") == []


PARTNERLESS = "tests --ignore=tests/migrate WITHOUT channels,channels_redis,django_celery_beat"


# --- what it runs -------------------------------------------------------------------------------------------------


def test_test_runs_the_fast_suite_with_and_without_partners_beside_the_integration_suite(checkout: Checkout) -> None:
    told = checkout.run("test", HAVE="3.12")
    assert told.returncode == 0
    assert sorted(checkout.calls("pytest -rs tests")) == [
        ".venvs/django60/bin/python -m pytest -rs tests",
        f".venvs/django60/bin/python -m pytest -rs {PARTNERLESS}",
    ]
    assert checkout.calls("pytest -rs integration") == [".venvs/django60/bin/python -m pytest -rs integration"]
    assert "--group test --group browser --group docs --group beat" in checkout.calls("uv sync")[0]
    lines = told.stdout.splitlines()
    suites = ("integration", "tests", "partnerless")
    assert {line.partition(",")[0] for line in lines[-3:]} == {f"run: passed: django60 {each}" for each in suites}
    assert lines[lines.index("run: django60: integration") + 1].startswith("this is .venvs/django60/bin/python")


def test_suites_of_test_run_two_at_a_time_and_end_with_it(checkout: Checkout, tmp_path: Path) -> None:
    assert_a_signal_ends_two_suites_and_leaves_nothing(checkout, tmp_path, "test", HAVE="3.12")


@pytest.mark.parametrize("verb", [["test"], ["test", "--full"]], ids=" ".join)
def test_processes_of_the_suites_share_their_bytecode_where_none_is_to_be_kept(
    verb: list[str], checkout: Checkout, tmp_path: Path
) -> None:
    checkout.script(
        checkout.tool, '#!/bin/sh\necho "keeps ${PYTHONDONTWRITEBYTECODE-all} ${PYTHONPYCACHEPREFIX-there}" >>"$LOG"\n'
    )
    environ = {"HAVE": "3.12", "TMPDIR": str(tmp_path)}
    assert checkout.run(*verb, **environ).returncode == 0
    assert set(checkout.calls("keeps")) == {"keeps all there"}
    checkout.log.unlink()
    assert checkout.run(*verb, PYTHONDONTWRITEBYTECODE="1", **environ).returncode == 0
    (kept,) = set(checkout.calls("keeps"))
    assert kept.startswith(f"keeps all {tmp_path}")
    assert not Path(kept.split()[-1]).parent.exists()


def test_test_hands_arguments_to_one_pytest(checkout: Checkout) -> None:
    assert checkout.run("test", "-k", "two words", HAVE="3.12").returncode == 0
    assert checkout.calls("pytest") == [".venvs/django60/bin/python -m pytest -k two words"]


def test_one_failing_suite_does_not_stop_the_others_and_fails_the_whole(checkout: Checkout) -> None:
    told = checkout.run("test", HAVE="3.12", FAIL="-rs tests")
    assert told.returncode == 1
    assert len(checkout.calls("pytest")) == 3
    assert "FAILED: django60 tests" in told.stdout
    assert "passed: django60 integration" in told.stdout


EVERY_PYTHON = "3.11 3.12 3.13"
CORE = "tests --ignore=tests/channels --ignore=tests/migrate"


def test_full_runs_every_environment_and_beat_only_where_it_can_be(checkout: Checkout) -> None:
    assert checkout.run("test", "--full", HAVE=EVERY_PYTHON).returncode == 0
    syncs = {line.split("--group ")[1].strip(): line.split("--group docs ")[1:] for line in checkout.calls("uv sync")}
    assert syncs == {
        "django52": ["--group beat"],
        "django60": ["--group beat"],
        "django61": [],
        "celery55": ["--group django52 --group beat"],
        "celery56": ["--group django60 --group beat"],
    }


@pytest.mark.parametrize("environment", ["django52", "django60", "django61"])
def test_full_runs_every_suite_on_each_django(environment: str, checkout: Checkout) -> None:
    assert checkout.run("test", "--full", HAVE=EVERY_PYTHON).returncode == 0
    pytest = f".venvs/{environment}/bin/python -m pytest -rs"
    # One environment runs for all what is needed once.
    rest = ["integration/test_database.py"]
    if environment == "django60":
        rest = ["integration/asking", "integration/beat", PARTNERLESS]
    assert {call.partition(" ENDINGS")[0].partition(" --ignore=integration")[0] for call in checkout.calls(pytest)} == {
        f"{pytest} tests",
        f"{pytest} integration",
        *(f"{pytest} {each}" for each in rest),
    }


@pytest.mark.parametrize(
    ("environment", "suites"),
    [
        ("celery55", [CORE, "integration/beat/test_firing.py", "integration/test_endings.py"]),
        ("celery56", ["integration/test_endings.py"]),
    ],
)
def test_full_runs_the_endings_on_the_older_celerys_and_the_fast_suite_on_the_oldest(
    environment: str, suites: list[str], checkout: Checkout
) -> None:
    assert checkout.run("test", "--full", HAVE=EVERY_PYTHON).returncode == 0
    pytest = f".venvs/{environment}/bin/python -m pytest -rs"
    # Two lanes take them: which comes first is chance.
    assert sorted(checkout.calls(pytest)) == sorted(f"{pytest} {suite}" for suite in suites)


def test_full_tries_every_pool_and_broker_in_one_environment(checkout: Checkout) -> None:
    assert checkout.run("test", "--full", HAVE=EVERY_PYTHON, TASKS_CELERY_ENDINGS="full").returncode == 0
    (matrix,) = checkout.calls("ENDINGS")
    assert matrix.startswith(".venvs/django60/bin/python -m pytest -rs integration ")
    assert matrix.split(" integration ")[1] == ("--ignore=integration/asking --ignore=integration/beat ENDINGS full")


def test_full_prints_each_suite_whole_and_every_outcome_at_the_end(checkout: Checkout) -> None:
    told = checkout.run("test", "--full", HAVE=EVERY_PYTHON).stdout.splitlines()
    outcomes = [line for line in told if line.startswith("run: passed: ")]
    assert len(outcomes) == 15
    assert told[-15:] == outcomes
    at = told.index("run: django61: integration")
    assert told[at + 1] == "this is .venvs/django61/bin/python -m pytest -rs integration"


@pytest.mark.parametrize(
    "failing", ["django60/bin/python -m pytest -rs integration/as", "celery55/bin/python -m pytest -rs tests "]
)
def test_one_failing_suite_fails_the_whole_of_full_and_stops_nothing(failing: str, checkout: Checkout) -> None:
    told = checkout.run("test", "--full", HAVE=EVERY_PYTHON, FAIL=failing)
    assert told.returncode == 1
    assert told.stdout.count("run: FAILED: ") == 1
    assert told.stdout.count("run: passed: ") == 14


def test_suites_that_were_not_run_fail_the_whole_of_full(checkout: Checkout) -> None:
    told = checkout.run("test", "--full", HAVE=EVERY_PYTHON, LOSE="django61/bin/python -m pytest -rs tests")
    assert told.returncode == 1
    assert "run: FAILED: suites are missing" in told.stdout
    # The other lane runs all the others.
    assert told.stdout.count("run: passed: ") == 14


def test_a_suite_in_the_background_can_be_interrupted(checkout: Checkout) -> None:
    checkout.script(checkout.tool, f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    asked = [f"integration/{folder}/test_interrupt.py" for folder in ("asking", "beat")]
    for path in ("tests/test_interrupt.py", "integration/test_endings.py", *asked):
        (checkout.root / path).parent.mkdir(exist_ok=True)
        (checkout.root / path).write_text(
            "import pytest, signal\n\ndef test_interrupt():\n"
            "    with pytest.raises(KeyboardInterrupt):\n        signal.raise_signal(signal.SIGINT)\n"
        )
    # pytest's plugins take a second each time to import.
    told = checkout.run("test", "--full", HAVE="3.12", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert told.returncode == 0, told.stdout
    assert told.stdout.count("1 passed") == 6


def test_full_ended_by_a_signal_ends_its_suites_and_leaves_nothing(checkout: Checkout, tmp_path: Path) -> None:
    assert_a_signal_ends_two_suites_and_leaves_nothing(checkout, tmp_path, "test", "--full", HAVE=EVERY_PYTHON)


def assert_a_signal_ends_two_suites_and_leaves_nothing(
    checkout: Checkout, tmp_path: Path, *verb: str, **environ: str
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environ |= {"PATH": str(checkout.bin), "LOG": str(checkout.log), "TOOL": str(checkout.tool), "SLOW": "yes"}
    with subprocess.Popen(
        [checkout.root / "run", *verb], env=environ | {"TMPDIR": str(scratch)}, stderr=subprocess.DEVNULL
    ) as process:
        until(lambda: len(checkout.calls("slow")) == 2)  # one of each lane
        process.terminate()
        assert process.wait(20) == 130
    assert len(checkout.calls("pytest")) == 2
    for call in checkout.calls("slow"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(call.split()[1]), 0)
    assert list(scratch.iterdir()) == []


def test_full_skips_an_environment_without_its_python_at_home_and_fails_in_ci(checkout: Checkout) -> None:
    home = checkout.run("test", "--full", HAVE="3.11 3.12")
    assert home.returncode == 0
    assert "skipped: django61, for there is no Python 3.13" in home.stdout
    assert checkout.calls("django61/bin/python") == []
    ci = checkout.run("test", "--full", HAVE="3.11 3.12", CI="true")
    assert ci.returncode == 1
    assert "django61 needs Python 3.13" in ci.stderr


@pytest.mark.parametrize("failing", ["ruff check", "ruff format --check", "mypy", "lint-imports"])
def test_lint_runs_all_four_and_names_what_is_not_clean(failing: str, checkout: Checkout) -> None:
    assert checkout.run("lint", HAVE="3.12").returncode == 0
    told = checkout.run("lint", HAVE="3.12", FAIL=f"bin/{failing}")
    assert told.returncode == 1
    assert told.stderr.splitlines()[-1] == f"run: not clean: {failing}"
    assert len(checkout.calls(".venvs/django60/bin/lint-imports")) == 2


def test_lint_keeps_nothing_that_is_not_in_the_lock_file_and_the_others_keep_each_others(checkout: Checkout) -> None:
    assert checkout.run("lint", HAVE="3.12").returncode == 0
    assert checkout.run("demo", HAVE="3.12").returncode == 0
    lint, demo = checkout.calls("uv sync")
    assert "--inexact" not in lint
    assert "--inexact" in demo


def test_bench_hands_its_arguments_on(checkout: Checkout) -> None:
    (checkout.root / "benchmarks").mkdir()
    (checkout.root / "benchmarks" / "__main__.py").touch()
    assert checkout.run("bench", "enqueue", "--json", HAVE="3.12").returncode == 0
    assert checkout.calls("benchmarks") == [".venvs/django60/bin/python -m benchmarks enqueue --json"]


def test_the_scripts_are_executable_posix_sh() -> None:
    for script in (ROOT / "run", ROOT / ".ci" / "run"):
        assert os.access(script, os.X_OK), script
        subprocess.run(["sh", "-n", script], check=True)
