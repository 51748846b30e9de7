"""What is said after Ctrl-C. It imports no module of ours, because Ctrl-C may stop an import."""

import shlex
import sys


def command_that_goes_on(arguments: list[str]) -> str:
    """Return the command that goes on where a command with these arguments was interrupted.

    `train` and `infer` go on with what is written. The other commands have written nothing yet.
    """
    if arguments[:1] in (["train"], ["infer"]):
        arguments = [each for each in arguments if each not in ("--overwrite", "--resume")]
        arguments.append("--resume")
    command = ["lungseg", *arguments]
    if sys.platform == "win32":
        from subprocess import list2cmdline  # which quotes as its shells read it

        return list2cmdline(command)
    return shlex.join(command)


def message(arguments: list[str]) -> str:
    """Return the message for a command with these arguments."""
    return (
        "interrupted. Every file already written is complete. This command goes on:\n"
        f"  {command_that_goes_on(arguments)}"
    )
