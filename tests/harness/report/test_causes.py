"""What to do about an error."""

import pytest

from graders.harness.report.causes import advice_for

KEYBOARD = "raw_input was called, but this frontend does not support input requests."


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (("StdinNotImplementedError", KEYBOARD, 'name = input("name? ")'), "Nobody answers input()"),
        (("StdinNotImplementedError", KEYBOARD, "1 / 0"), "%pdb"),
        (("BdbQuit", "", "breakpoint()"), "debugger"),
        (("AssertionError", "Torch not compiled with CUDA enabled", "unet.cuda()"), "asked for a GPU"),
        (("RuntimeError", "Found no NVIDIA driver on your system.", 'x.to("cuda")'), "asked for a GPU"),
        (("RuntimeError", "No CUDA GPUs are available", ""), "asked for a GPU"),
        (
            ("RuntimeError", "Expected one of cpu, cuda device type at start of device string: auto", ""),
            '"auto" is no device',
        ),
        (("LocalEntryNotFoundError", "cannot find the requested files", ""), "from the network"),
        (("URLError", "<urlopen error [Errno -3] Temporary failure in name resolution>", ""), "from the network"),
        (("OSError", "We couldn't connect to 'https://huggingface.co' to load the files", ""), "from the network"),
        (("OfflineModeIsEnabled", "Cannot reach https://huggingface.co", "notebook_login()"), "log in"),
        (
            ("FileNotFoundError", "[Errno 2] No such file or directory: 'data/captions.csv'", ""),
            "only what you hand in",
        ),
        (("FileNotFoundError", "[Errno 2] No such file or directory: '/content/drive/a.png'", ""), "on Colab"),
        (("ModuleNotFoundError", "No module named 'google.colab'", ""), "Colab or Kaggle only"),
        (("SystemExit", "2", "parser.parse_args()"), "argparse"),
    ],
)
def test_advice(error: tuple[str, str, str], advice: str) -> None:
    """A cause that the graders' machine makes likely is named, with what to do about it."""
    said = advice_for(dict(zip(("ename", "evalue", "line"), error, strict=True)))
    assert said is not None
    assert advice in said


@pytest.mark.parametrize(
    "error",
    [("ZeroDivisionError", "division by zero", "1 / 0"), ("NameError", "name 'automatic' is not defined", "automatic")],
)
def test_no_advice(error: tuple[str, str, str]) -> None:
    """An error of the notebook's own is not explained by the machine."""
    assert advice_for(dict(zip(("ename", "evalue", "line"), error, strict=True))) is None
