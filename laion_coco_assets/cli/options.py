"""The commands' flags: those of the settings, derived from their table, and those that several commands share."""

from collections.abc import Callable, Sequence
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any

import typer
from annotated_types import Ge, Le

from laion_coco_assets.errors import UserError
from laion_coco_assets.settings import Settings, description, flag, is_list, shown, variable


def option(name: str) -> Any:
    """The typer option of a setting: name, help and bounds as `Settings` declares them."""
    info, how = Settings.model_fields[name], shown(name)
    return typer.Option(
        flag(name),
        help=description(info) + (" Repeat the flag for more." if how.flag else ""),
        min=next((bound.ge for bound in info.metadata if isinstance(bound, Ge)), None),  # type: ignore[arg-type]
        max=next((bound.le for bound in info.metadata if isinstance(bound, Le)), None),  # type: ignore[arg-type]
        envvar=variable(name) if how.reads_variable else None,
        show_default=how.default if how.default and how.terminal_default is None else True,
        rich_help_panel=how.group if how.group != "Data" else None,
    )


Device = Annotated[str, option("device")]
Dtype = Annotated[str, option("dtype")]
Shards = Annotated[
    list[str] | None,
    typer.Option(help="Only this shard (the file's stem). Repeat the flag, or separate several by commas."),
]
MaxSamples = Annotated[
    int | None,
    typer.Option(
        min=1, help="A trial: only the first samples of each shard, this many. Best in a data folder of its own."
    ),
]


def takes_settings(command: str, **defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the flags of all settings whose row in the table names it; it gets them as one `settings`.

    `defaults` are this command's own, if the table's do not fit.
    """
    names = [name for name in Settings.model_fields if command in shown(name).commands]
    parameters = sorted(
        (_parameter(name, defaults) for name in names), key=lambda parameter: parameter.default is not parameter.empty
    )

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def with_settings(**given: Any) -> None:
            values = {name: value for name in names if (value := given.pop(name)) is not None}
            function(Settings.from_flags(**values), **given)

        taken = signature(function, eval_str=True).parameters.values()
        own = [parameter for parameter in taken if parameter.name != "settings"]
        together = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in (*parameters, *own)]
        # Typer reads these.
        with_settings.__signature__ = signature(function).replace(parameters=together)  # type: ignore[attr-defined]
        with_settings.__annotations__ = {parameter.name: parameter.annotation for parameter in together} | {
            "return": None
        }
        return with_settings

    return decorate


def _parameter(name: str, defaults: dict[str, Any]) -> Parameter:
    info, how = Settings.model_fields[name], shown(name)
    own = info.default if how.terminal_default is None else how.terminal_default
    annotation, default = (list[str] | None, None) if is_list(name) else (info.annotation, defaults.get(name, own))
    return Parameter(
        name,
        Parameter.KEYWORD_ONLY,
        annotation=Annotated[annotation, option(name)],
        default=Parameter.empty if default is ... else default,
    )


def select(known: Sequence[str], wanted: Sequence[str] | None, where: str) -> list[str]:
    """The shards of `where` that --shards names; all of them if it names none. Raises UserError for an unknown one."""
    names = [name for given in wanted or () for name in ([given] if given in known else given.split(",")) if name]
    unknown = [name for name in names if name not in known]
    if unknown:
        some = ", ".join(known[:5]) + (", …" if len(known) > 5 else "")
        raise UserError(f"--shards: {', '.join(unknown)} not in {where}; it has {len(known)}: {some}")
    return [name for name in known if name in names] if names else list(known)
