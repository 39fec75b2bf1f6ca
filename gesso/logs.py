"""Where logs go, and what they never show."""

import sys

import structlog


def log_to_standard_error() -> None:
    """Logs go beside the output, not into it; tracebacks in them show no values, which may be prompts or keys."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso"),
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
