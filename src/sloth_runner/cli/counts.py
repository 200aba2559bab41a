"""A number of things as an option takes it."""

import click


class Count(click.ParamType[int]):
    """Converts to a whole number from 1."""

    name = "number"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Returns the number that ``value`` stands for."""
        text = str(value)
        if not (text.isascii() and text.isdigit() and int(text) > 0):
            self.fail(f"expected a whole number from 1, got {text!r}", param, ctx)
        return int(text)


COUNT = Count()
