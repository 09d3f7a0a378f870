"""CPU by stage: where each role's main thread was when a millisecond of CPU time had passed."""

import shutil
import site
import venv
from collections import Counter
from pathlib import Path

from bench.rows import Result

_SAMPLER = Path(__file__).with_name("sampler.py")


class Stages:
    """An environment whose Python samples the roles: they are run isolated, without PYTHONPATH, with few variables, so
    what is to be in them has to lie in their site-packages. `directory` is where it is made."""

    def __init__(self, directory: Path) -> None:
        venv.create(directory / "env", symlinks=True)
        (packages,) = (directory / "env" / "lib").glob("python*/site-packages")
        shutil.copy(_SAMPLER, packages / "postwarden_sampler.py")
        lines = [f"import site; site.addsitedir({path!r})\n" for path in site.getsitepackages()]
        (packages / "postwarden_sampler.pth").write_text("".join(lines) + "import postwarden_sampler\n")
        self._samples = packages / "samples"
        self._samples.mkdir()
        self._samples.chmod(0o1777)
        self.python = directory / "env" / "bin" / "python"

    def report(self, result: Result) -> list[str]:
        """A line a role: µs a message by stage, then by module; a role's time is shared out by its samples."""
        seen: dict[str, Counter[str]] = {}
        for path in self._samples.iterdir():
            counts = seen.setdefault(path.name.partition(".")[0], Counter())
            for line in path.read_text().splitlines():
                samples, where = line.split(" ", 1)
                counts[where] += int(samples)
        lines = [] if seen else ["stages: the roles left no samples"]
        for role, counts in sorted(seen.items()):
            if not result.roles.get(role):
                continue
            each = result.roles.get(role, 0.0) / max(counts.total(), 1)
            stages: Counter[str] = Counter()
            for where, count in counts.items():
                stages[where.partition("/")[0]] += count
            lines.append(f"{role}: " + "  ".join(f"{name} {n * each:.0f}" for name, n in stages.most_common(12)))
            lines.append("  " + "  ".join(f"{name} {n * each:.0f}" for name, n in counts.most_common(16)))
        return lines
