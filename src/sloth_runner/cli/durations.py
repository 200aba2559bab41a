"""A duration as an option takes it: seconds, or text such as "5m"."""

import click


class Duration(click.ParamType[float]):
    """Converts to seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Returns the seconds that ``value`` stands for."""
        from sloth_runner.core.schema import WrongValue, seconds

        try:
            return seconds(value)
        except WrongValue as wrong:
            self.fail(str(wrong), param, ctx)


DURATION = Duration()
