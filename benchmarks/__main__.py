"""``python -m benchmarks [NAME] [--json]``: each prints ratios measured in this run."""

from __future__ import annotations

import argparse
import os
import tempfile
from importlib import import_module

NAMES = ("enqueue", "worker", "push", "latency", "fanout", "report", "soak")


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("name", nargs="?", choices=NAMES, help="one of them; all by default")
    parser.add_argument("--json", action="store_true", help="a line of JSON per measure")
    options = parser.parse_args()

    from benchmarks.harness import private_redis
    from example.servers import end_by_exception

    end_by_exception()  # else the servers of a run that is ended stay
    with private_redis() as url, tempfile.TemporaryDirectory() as directory:
        os.environ |= {
            "BENCH_REDIS": url,
            "BENCH_DATABASE": f"{directory}/db.sqlite3",
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
        }
        import django

        django.setup()
        for name in [options.name] if options.name else NAMES:
            for measure in import_module(f"benchmarks.{name}").measure():
                print(measure.as_json() if options.json else measure.as_text(), flush=True)


if __name__ == "__main__":
    main()
