"""The rules of a stage's class: its own, and those on columns, fingerprint, inputs and a row for every image."""

from collections.abc import Iterator
from string import Template

from laion_coco_assets.stages.stage import Stage
from laion_coco_assets.store.sql import sql_text


def contract_rules(stage: type[Stage]) -> Iterator[tuple[str, str]]:
    """Each rule's name, and its SQL with the header."""
    yield from stage.rules.items()
    for file in (stage, *stage.side_files):
        what = "The file" if file is stage else f"The {file.name}"
        needs = "" if file is stage else file.name
        yield f"{file.name}_columns", _sql("columns", what=what, stage=stage.name, file=file.name, needs=needs)
    inputs = (*stage.reads, *stage.outside_inputs)
    reads = ", ".join(inputs)
    quoted = ", ".join(f"'{name}'" for name in inputs)
    yield f"{stage.name}_fingerprint", _sql("fingerprint", stage=stage.name, reads=reads, inputs=quoted)
    if stage.rows_of is not None:
        source, where, what = stage.rows_of.stage, stage.rows_of.where, stage.rows_of.what
        yield f"{stage.name}_every_image", _sql("every_image", stage=stage.name, source=source, where=where, what=what)


def _template(name: str) -> Template:
    return Template(sql_text(__package__, f"templates/{name}"))


def _sql(name: str, **values: str) -> str:
    lines = _template(name).substitute(values).splitlines(keepends=True)
    return "".join(line for line in lines if line.strip() != "-- needs:")
