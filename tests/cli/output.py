from typer.testing import Result


def said(result: Result) -> str:
    """What a command printed, without the ends of lines that depend on the width."""
    return " ".join(result.output.split())
