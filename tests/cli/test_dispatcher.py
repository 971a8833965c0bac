"""The dispatcher: each command leads to a function, and errors become one line."""

import importlib
import re
from collections.abc import Callable

import pytest

from cli import __main__ as cli
from cli.errors import CommandError
from local.stack import config


def function_of(command: str) -> Callable[..., object]:
    module, _, name = cli.COMMANDS[command].function.partition(":")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_each_command_has_a_function_and_a_line_of_help(command: str) -> None:
    assert callable(function_of(command))
    assert re.fullmatch(r"[a-z].{10,75}[^.]", cli.COMMANDS[command].help)


@pytest.mark.parametrize("command", ["demo", "image", "image-verify", "kubeconfig", "aws-env"])
def test_a_command_of_the_local_stack_is_refused_on_aws(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(config.TARGET, "aws")
    monkeypatch.setenv("RETAIL_ACCOUNT_ID", "210987654321")
    assert cli.main([command]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert said == f"{command}: works on the local stack only, and the target is MLOPS_TARGET=aws"


def test_an_old_spelling_of_the_target_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOCAL_AWS", "account")
    assert cli.main(["image"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert said == "image: environment: LOCAL_AWS=account is no longer read: write MLOPS_TARGET=aws instead"


def test_an_error_that_nobody_foresaw_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.down.main", lambda _: {}["missing"])
    with pytest.raises(KeyError, match="missing"):
        cli.main(["down"])


def test_a_command_error_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: object) -> None:
        raise CommandError("[red]no markup[/]")

    monkeypatch.setattr("cli.down.main", fail)
    assert cli.main(["down"]) == 1
    assert capsys.readouterr().err == "down: [red]no markup[/]\n"
