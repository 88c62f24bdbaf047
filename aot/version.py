"""The one place that holds the version; setup.cfg reads it from here."""

VERSION = "0.1.0"
