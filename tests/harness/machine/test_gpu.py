"""What is said of a GPU, with a driver and builds of torch that are made up: tests run where there is none."""

from pathlib import Path

import pytest

from graders.harness.machine import gpu


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Makes up a driver that tells of a GPU, or of none, and a torch built for CUDA, or not, that says what is wrong."""

    def make(*, driver: bool, build: str | None, says: str = "null") -> None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text("#!/bin/sh\necho 'Tesla T4, 15360, 15000'\n" if driver else "#!/bin/sh\necho failed\nexit 9\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        (tmp_path / "torch").mkdir()
        (tmp_path / "torch" / "__init__.py").write_text("")
        (tmp_path / "torch" / "version.py").write_text(f"cuda: Optional[str] = {build!r}\nhip: Optional[str] = None\n")
        origin = type("Spec", (), {"origin": str(tmp_path / "torch" / "__init__.py")})
        monkeypatch.setattr(gpu, "find_spec", lambda name: origin)
        monkeypatch.setattr(gpu, "_ASK", f"print({says!r})")
        monkeypatch.setattr(gpu, "_DEVICE", str(tmp_path / "nothing"))
        gpu.cards.cache_clear()
        gpu._build.cache_clear()

    yield make
    gpu.cards.cache_clear()
    gpu._build.cache_clear()


def told() -> str:
    return "\n".join(f"{finding.words}: {finding.broken} ({finding.fix})" for finding in gpu.examine("exercise 3", 5))


def test_cpu_build(machine):
    """A GPU that an ordinary build of torch cannot use is named with its memory, and how to get the other build."""
    machine(driver=True, build=None)
    said = told()
    assert "Tesla T4: 14.6 GiB free of 15.0 GiB" in said
    assert "built for the CPU only (Choose your CUDA version" in said
    assert "exercise 3 in less than 5 minutes" in said
    assert not any(finding.fatal for finding in gpu.examine("exercise 3", 5))


def test_works(machine):
    """Where torch can compute on the GPU there is nothing else to say."""
    machine(driver=True, build="12.6")
    assert [finding.broken for finding in gpu.examine("exercise 3", 5)] == [None, None]
    assert [finding.broken for finding in gpu.asked("cuda:0")] == [None]


def test_no_driver(machine):
    """A torch for CUDA without a driver runs on the CPU; that is worth a word and no warning, unless CUDA is asked for."""
    machine(driver=False, build="12.6")
    assert [finding.broken for finding in gpu.examine("exercise 3", 5)] == [None]
    assert "if there is a GPU, install its driver" in told()
    (finding,) = gpu.asked("cuda")
    assert finding.fatal
    assert "no NVIDIA driver answers" in str(finding.broken)
    assert finding.fix.startswith("Leave out --device")


@pytest.mark.parametrize(
    ("says", "broken"),
    [
        ('"CUDA error: no kernel image is available for execution on the device"', "its compute capability"),
        ('"The NVIDIA driver on your system is too old (found version 11040)."', "too old"),
        ("Killed", "torch ended"),
    ],
)
def test_unusable(machine, says, broken):
    """A GPU that is too old, a driver that is, and a crash are told apart."""
    machine(driver=True, build="12.6", says=says)
    assert broken in told()


def test_asked_for_here(grade, refused):
    """`--device cuda` is refused at once where it cannot be had; what can always be had is not asked about."""
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a GPU")
    refused(grade("ex3", "--device", "cuda"), "`cuda` was asked for", "Leave out --device")
    assert not [*gpu.asked("cpu"), *gpu.asked("auto"), *gpu.asked(None)]
