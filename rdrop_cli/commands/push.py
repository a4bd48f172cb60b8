"""`rdrop push`: publish a run's best model on the model hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional

import typer

from rdrop_cli import processes
from rdrop_cli.commands import asking, help_pages, options
from rdrop_cli.terminal.console import Screen, safe

if TYPE_CHECKING:
    from rdrop_cli.core.publishing.push import PushPlan, PushResult

EXAMPLES = """[bold]Examples[/]
rdrop push runs/NAME OWNER/NAME              [dim]# shows what is sent, and asks[/]
rdrop push NAME OWNER/NAME --private --yes   [dim]# for scripts[/]
rdrop push NAME OWNER/NAME --dry-run         [dim]# sends nothing[/]
"""


def push(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A finished run: its folder, or its name under runs/.")],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository on the hub.")],
    private: Annotated[
        bool,
        typer.Option("--private", help="Only the owner can see a new repository.", rich_help_panel=help_pages.EVERYDAY),
    ] = False,
    message: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="TEXT", help="The commit's message.", rich_help_panel=help_pages.EVERYDAY),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show what would be sent, and send nothing.", rich_help_panel=help_pages.EVERYDAY
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", rich_help_panel=help_pages.EVERYDAY)] = False,
    json_output: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Publish a run's best model on the Hugging Face hub, with its card.

    Sends weights, tokenizer, configuration, model card, rdrop.json and a current ONNX export, in one commit.

    No texts, predictions, checkpoints or logs. HF_ENDPOINT names another hub.
    """
    from rdrop_cli.core.storage import hub

    if not hub.looks_like_id(repository):
        raise typer.BadParameter(f"{repository}: expected OWNER/NAME")
    if message is not None and not message.strip():
        raise typer.BadParameter("--message is empty")
    if processes.world_size() > 1:
        raise typer.BadParameter("one process publishes; run it without a launcher")
    asking.require_answer(yes or dry_run, "publish")
    screen = Screen(json_output=json_output, quiet=quiet)
    from rdrop_cli.core.publishing.push import MESSAGE, Push, PushResult

    work = Push(run, repository, private=private)
    with screen.stages() as stages:
        plan = work.plan(stages.update)
    _show_plan(screen, plan)
    if dry_run:
        screen.say("Nothing was sent (--dry-run)")
        done = PushResult(plan, None, plan.private)
    else:
        _ask(screen, plan, yes)
        done = work.send(plan, message or MESSAGE, bars=screen.is_live)
        _show_done(screen, done)
    if json_output:
        screen.document(done.as_dict())


def _show_plan(screen: Screen, plan: PushPlan) -> None:
    from rdrop_cli.terminal import push_view

    screen.show(push_view.files_table(plan), title=push_view.destination(plan))
    for remark in push_view.remarks(plan):
        screen.say(remark)


def _ask(screen: Screen, plan: PushPlan, yes: bool) -> None:
    """Go no further without consent.

    Raises:
        typer.Exit: the answer is no.
    """
    from rdrop_cli.terminal import push_view

    if not yes and not asking.is_agreed(push_view.question(plan)):
        screen.say("Nothing was published")
        raise typer.Exit(1)
    screen.say(f"Sending {push_view.sent(plan)}")


def _show_done(screen: Screen, done: PushResult) -> None:
    from rdrop_cli.commands.next_steps import prediction
    from rdrop_cli.core.storage import shell

    plan = done.plan
    screen.show(
        f"Published: {safe(plan.url)} ({'private' if done.private else 'public'}, commit {(done.commit or '')[:8]})"
    )
    evaluation = shell.join(["rdrop", "evaluate", plan.repository, "DATA"])
    contents = plan.contents
    for command in (evaluation, prediction(plan.repository, contents.labels, has_pairs=contents.has_pairs)):
        screen.say(f"Next: {command}", style="bold", to_copy=True)
