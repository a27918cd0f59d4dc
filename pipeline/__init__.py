"""Training and evaluation of visible-infrared person re-identification by the base-derivative framework."""

__version__ = "0.3.0"
