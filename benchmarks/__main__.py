"""``python -m benchmarks [CASE …] [--rounds N] [--json]``: the cases, interleaved, as ratios against the floor.

(a) a chain of five no-op steps · (b) a fan-out of 100 · (c) a study of 100 trials of three no-op steps, one and four
at a time · (d) every step reused · (e) a 200 MB DataFrame through four steps · (f) 30 trials that share what they can,
against the time that perfect sharing would take. Store, artifacts and mirror are on.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import Cost, cost

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", default=list("abcdef"), metavar="CASE", help="a to f (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the interleaved contenders (default 5)")
    parser.add_argument("--trials", type=int, default=100, help="trials of case c (default 100)")
    parser.add_argument("--json", action="store_true", help="print JSON lines instead of tables")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hpo-bench-", ignore_cleanup_errors=True) as home:
        os.environ["HPO_HOME"] = home
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        bench = Bench(Path(home), options.rounds, options.trials)
        for case in options.cases:
            for row in getattr(bench, f"case_{case}")():
                print(json.dumps(row) if options.json else _line(row), flush=True)
        bench.close()


class Bench:
    """One workspace, one Ray: started before anything is timed."""

    def __init__(self, home: Path, rounds: int, trials: int) -> None:
        from benchmarks import floor, pipelines
        from hpo_pipelines import Workspace

        self.home, self.rounds, self.trials = home, rounds, trials
        self.floor, self.pipelines = floor, pipelines
        self.workspace = Workspace()
        for executor in ("local", "ray"):
            pipelines.chain.run(executor=executor, workspace=self.workspace)
        floor.chain()

    def close(self) -> None:
        self.workspace.close()

    def _interleaved(self, contenders: dict[str, Callable[[], object]], *, memory: bool = False) -> dict[str, Cost]:
        """Every contender once a round; the median of each."""
        found: dict[str, list[Cost]] = {name: [] for name in contenders}
        for _ in range(self.rounds):
            for name, work in contenders.items():
                with cost(memory=memory) as spent:
                    work()
                found[name].append(spent)
        return {
            name: Cost(
                statistics.median(item.wall for item in costs),
                statistics.median(item.cpu for item in costs),
                max(item.peak for item in costs),
            )
            for name, costs in found.items()
        }

    def _ran(self, pipeline: Any, executor: str, **params: Any) -> Callable[[], object]:
        def work() -> object:
            run = pipeline.run(executor=executor, workspace=self.workspace, **params)
            assert run.status == "completed", (run.reason, run.error)
            return run

        return work

    def case_a(self) -> list[Row]:
        p = self.pipelines
        costs = self._interleaved(
            {"floor": self.floor.chain, "local": self._ran(p.chain, "local"), "ray": self._ran(p.chain, "ray")}
        )
        return _per_step("a chain of 5", costs, 5)

    def case_b(self) -> list[Row]:
        p = self.pipelines
        costs = self._interleaved(
            {"floor": self.floor.fan_out, "local": self._ran(p.fan_out, "local"), "ray": self._ran(p.fan_out, "ray")}
        )
        return _per_step("b fan-out of 100", costs, 100)

    def case_d(self) -> list[Row]:
        p = self.pipelines
        self._ran(p.reused, "local")()
        costs = self._interleaved(
            {"floor": self.floor.chain, "local": self._ran(p.reused, "local"), "ray": self._ran(p.reused, "ray")}
        )
        return _per_step("d every step reused", costs, 5)

    def case_c(self) -> list[Row]:
        rows = []
        by_hand = self.floor.LoggedByHand(self.home)
        # The first study loads Optuna and starts the process that mirrors: what is timed is what a trial costs.
        self.floor.study(3, 1, by_hand)
        for name in ("local", "ray"):
            self._study(name, 1, 3)
        for jobs in (1, 4):
            rates: dict[str, list[float]] = {}
            rest: dict[str, Row] = {}
            for _ in range(self.rounds):
                for name in ("floor", "by hand", "local", "ray"):
                    with cost() as spent:
                        if name == "floor":
                            self.floor.study(self.trials, jobs)
                        elif name == "by hand":
                            self.floor.study(max(10, self.trials // 5), jobs, by_hand)
                        else:
                            began = time.perf_counter()
                            study = self._study(name, jobs, self.trials)
                    trials = max(10, self.trials // 5) if name == "by hand" else self.trials
                    rates.setdefault(name, []).append(trials / spent.wall)
                    rest[name] = {"cpu_ms_per_trial": 1e3 * spent.cpu / trials}
                    if name in ("local", "ray"):
                        rest[name] |= self._shares(study) | {"drained_after_s": self._drained(began) - spent.wall}
            median = {name: statistics.median(values) for name, values in rates.items()}
            for name, rate in median.items():
                rows.append(
                    {
                        "case": f"c study, n_jobs={jobs}",
                        "who": name,
                        "trials_per_s": rate,
                        "of_floor": rate / median["floor"],
                        "of_by_hand": rate / median["by hand"],
                        **rest[name],
                    }
                )
        return rows

    def _study(self, executor: str, jobs: int, trials: int) -> Any:
        from hpo_pipelines import Float, optimize

        return optimize(
            self.pipelines.trial, {"x": Float(0.0, 1.0)}, "third.loss", "minimize",
            n_trials=trials, n_jobs=jobs, seed=0, name=f"bench-{executor}-{jobs}-{time.time_ns()}",
            executor=executor, workspace=self.workspace, progress=False,
        )  # fmt: skip

    def _shares(self, study: Any) -> Row:
        """Optuna's share: the same asks and tells on the same kind of storage, alone."""
        import optuna

        from hpo_pipelines.study import sampling

        began = time.perf_counter()
        alone = optuna.create_study(
            storage=sampling.storage(None, self.home, f"alone-{time.time_ns()}"),
            sampler=optuna.samplers.TPESampler(seed=0),
        )
        for _ in range(self.trials):
            asked = alone.ask()
            alone.tell(asked, (asked.suggest_float("x", 0.0, 1.0) - 0.3) ** 2)
        return {"optuna_ms_per_trial": 1e3 * (time.perf_counter() - began) / self.trials}

    def _drained(self, began: float) -> float:
        self.workspace.drain(timeout=120.0)
        return time.perf_counter() - began

    def case_e(self) -> list[Row]:
        p = self.pipelines
        rounds, self.rounds = self.rounds, min(2, self.rounds)
        costs = self._interleaved(
            {"numpy": self.floor.write_and_read, "local": self._ran(p.big, "local"), "ray": self._ran(p.big, "ray")},
            memory=True,
        )
        self.rounds = rounds
        base = costs["numpy"].wall
        return [
            {
                "case": "e 200 MB through 4",
                "who": name,
                "seconds": spent.wall,
                "of_numpy": spent.wall / base,
                "cpu_s": spent.cpu,
                "peak_mb": spent.peak / 1e6,
            }
            for name, spent in costs.items()
        ]

    def case_f(self) -> list[Row]:
        from hpo_pipelines import Categorical, Float, optimize

        p, cpus, jobs, trials = self.pipelines, 2, 4, 30
        rows = []
        for executor in ("local", "ray"):
            self._ran(p.fan_out, executor, width=8)()  # every worker has loaded the code
            walls = []
            for _ in range(max(3, self.rounds // 2) | 1):
                space = {"way": Categorical(["a", "b", "c"]), "x": Float(0.0, 1.0), "salt": time.time_ns()}
                with cost() as spent:
                    study = optimize(
                        p.sharing, space, "train.loss", "minimize", n_trials=trials, n_jobs=jobs, sampler="random",
                        seed=0, executor=executor, workspace=self.workspace, progress=False,
                    )  # fmt: skip
                ways = len({trial.params["way"] for trial in study.trials})
                ideal = p.LOAD + (ways * p.PREPARE + trials * p.TRAIN) / cpus
                walls.append((spent.wall, ideal))
            wall, ideal = sorted(walls)[len(walls) // 2]
            rows.append(
                {"case": "f shared prefix", "who": executor, "seconds": wall, "ideal": ideal, "of_ideal": wall / ideal}
            )
        return rows


def _per_step(case: str, costs: dict[str, Cost], steps: int) -> list[Row]:
    base = costs["floor"].wall
    return [
        {
            "case": case,
            "who": name,
            "ms_per_step": 1e3 * spent.wall / steps,
            "above_floor_ms": 1e3 * (spent.wall - base) / steps,
            "of_floor": spent.wall / base,
            "cpu_ms_per_step": 1e3 * spent.cpu / steps,
        }
        for name, spent in costs.items()
    ]


def _line(row: Row) -> str:
    cells = [f"{name}={value:.2f}" if isinstance(value, float) else str(value) for name, value in row.items()]
    return "  ".join(f"{cell:<22}" for cell in cells).rstrip()


if __name__ == "__main__":
    sys.exit(main())
