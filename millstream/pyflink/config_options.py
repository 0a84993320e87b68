"""PyFlink's builder of options. Millstream's own are in `millstream.core.configuration.options`."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from ..core.configuration.option import ConfigOption, Form, boolean, integer, number, text

__all__ = ["ConfigOptions"]

T = TypeVar("T")


class ConfigOptions:
    """Makes options for keys of one's own.

    >>> ConfigOptions.key("application.limit").int_type().default_value(100).parse("7")
    7
    """

    @staticmethod
    def key(key: str) -> ConfigOptions.OptionBuilder:
        """Begin an option."""
        return ConfigOptions.OptionBuilder(key)

    class OptionBuilder:
        """Chooses the type of the values."""

        def __init__(self, key: str) -> None:
            self._key = key

        def boolean_type(self) -> ConfigOptions.TypedConfigOptionBuilder[bool]:
            """True and false."""
            return ConfigOptions.TypedConfigOptionBuilder(self._key, boolean())

        def int_type(self) -> ConfigOptions.TypedConfigOptionBuilder[int]:
            """Whole numbers of 32 bits."""
            return ConfigOptions.TypedConfigOptionBuilder(self._key, integer(-(1 << 31), (1 << 31) - 1))

        def long_type(self) -> ConfigOptions.TypedConfigOptionBuilder[int]:
            """Whole numbers of 64 bits."""
            return ConfigOptions.TypedConfigOptionBuilder(self._key, integer(-(1 << 63), (1 << 63) - 1))

        def float_type(self) -> ConfigOptions.TypedConfigOptionBuilder[float]:
            """Numbers."""
            return ConfigOptions.TypedConfigOptionBuilder(
                self._key, number(float("-inf"), float("inf"), "1.5")
            )

        double_type = float_type

        def string_type(self) -> ConfigOptions.TypedConfigOptionBuilder[str]:
            """Texts."""
            return ConfigOptions.TypedConfigOptionBuilder(self._key, text())

    class TypedConfigOptionBuilder(Generic[T]):
        """Chooses the default."""

        def __init__(self, key: str, form: Form[T]) -> None:
            self._key = key
            self._form = form

        def default_value(self, value: T) -> ConfigOption[T]:
            """The option, with a value for when nothing sets it."""
            return ConfigOption(self._key, value, self._form, "")

        def no_default_value(self) -> ConfigOption[T | None]:
            """The option; None when nothing sets it."""
            form: Form[Any] = self._form  # parses to T; only the default is None
            return ConfigOption(self._key, None, form, "")
