"""`vedette rollout`: its verbs, each a function of a module beside this one. They are the same here and in a cluster."""

from operators.cli.control_plane import verb_group
from operators.cli.rollout import lint as rollout_lint
from operators.cli.rollout import plan as rollout_plan
from operators.cli.rollout import show, verbs
from operators.cli.rollout import simulate as rollout_simulate
from operators.cli.rollout import start as rollout_start

app = verb_group("rollout", "Roll out a new revision of a model: plan, start, watch, promote, abort, undo.")
app.command()(show.get)
app.command()(show.status)
app.command()(rollout_plan.plan)
app.command()(rollout_start.start)
for _verb in (
    verbs.promote,
    verbs.pause,
    verbs.resume,
    verbs.abort,
    verbs.retry,
    verbs.undo,
    verbs.approve,
    verbs.reject,
    verbs.review,
):
    app.command()(_verb)
app.command()(show.history)
app.command()(rollout_lint.lint)
app.command()(rollout_simulate.simulate)
