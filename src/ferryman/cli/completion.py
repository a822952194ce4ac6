"""`ferryman completion SHELL`: what the shell reads to complete verbs, options and files."""

from __future__ import annotations

import click

from ferryman.cli.verb import verb


@verb(
    "completion",
    examples="""
    # bash, for this session; in ~/.bashrc for all
    eval "$(ferryman completion bash)"

    # zsh, in ~/.zshrc after compinit
    eval "$(ferryman completion zsh)"

    # fish
    ferryman completion fish > ~/.config/fish/completions/ferryman.fish
    """,
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "ferryman", "_FERRYMAN_COMPLETE").source())
