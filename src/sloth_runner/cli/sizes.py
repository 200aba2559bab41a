"""A number of bytes as an option takes it: "64M"."""

import click

_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}


class Size(click.ParamType[int]):
    """Converts to bytes."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Returns the bytes that ``value`` stands for."""
        text = str(value).strip().upper().removesuffix("B").removesuffix("I")
        number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "")
        if not number.isdigit():
            self.fail(f"{value!r} is not a size such as 64M", param, ctx)
        return int(number) * _UNITS.get(unit, 1)


SIZE = Size()
