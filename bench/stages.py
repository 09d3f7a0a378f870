"""CPU by stage: where each role's main thread was when a millisecond of CPU time had passed."""

from collections import Counter
from pathlib import Path

from bench.rows import Result

_SAMPLER = Path(__file__).with_name("sampler")


class Stages:
    """Samples of one round; `directory` takes what the roles saw, and must be writable for them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(_SAMPLER), "POSTWARDEN_BENCH_SAMPLES": str(self._directory)}

    def report(self, result: Result) -> list[str]:
        """A line a role: µs a message by stage, then by module; a role's time is shared out by its samples."""
        seen: dict[str, Counter[str]] = {}
        for path in self._directory.iterdir():
            counts = seen.setdefault(path.name.partition(".")[0], Counter())
            for line in path.read_text().splitlines():
                samples, where = line.split(" ", 1)
                counts[where] += int(samples)
        lines = [] if seen else ["stages: the roles left no samples"]
        for role, counts in sorted(seen.items()):
            each = result.roles.get(role, 0.0) / max(counts.total(), 1)
            stages: Counter[str] = Counter()
            for where, count in counts.items():
                stages[where.partition("/")[0]] += count
            lines.append(f"{role}: " + "  ".join(f"{name} {n * each:.0f}" for name, n in stages.most_common(12)))
            lines.append("  " + "  ".join(f"{name} {n * each:.0f}" for name, n in counts.most_common(16)))
        return lines
