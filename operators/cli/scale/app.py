"""`vedette scale`: its verbs, each a function of a module beside this one."""

from operators.cli.control_plane import verb_group
from operators.cli.scale import simulate as scale_simulate
from operators.cli.scale import verbs

app = verb_group("scale", "Show and set how many replicas a service has, and compare scaling policies.")
app.command()(verbs.get)
app.command(name="set")(verbs.set_bounds)
app.command()(verbs.schedule)
app.command()(scale_simulate.simulate)
