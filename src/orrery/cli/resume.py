"""`orrery resume [RUN]`: go on with an interrupted run, from its last checkpoint."""

from orrery.cli.parser import Parser
from orrery.cli.run import add_execution, executor, finish, show

EXAMPLES = ("orrery resume", "orrery resume residual_depth-20260101-120000-ab12")


def main(argv: list[str]) -> int:
    """Resume; returns 0, or 3 where a claim fails under --strict."""
    parser = Parser("resume", "Go on with an interrupted run, exactly where it stood.", EXAMPLES)
    parser.add_argument("run", nargs="?", metavar="RUN", help="default: the newest interrupted one")
    add_execution(parser)
    chosen = parser.parse_args(argv)

    from orrery.lab.folder import find_run, newest_interrupted
    from orrery.lab.launch import work_on

    run = find_run(chosen.run) if chosen.run else newest_interrupted()
    outcome = work_on(run, executor(chosen.ray), chosen.workers, show(chosen.quiet or chosen.json))
    return finish(outcome, as_json=chosen.json, strict=chosen.strict)
