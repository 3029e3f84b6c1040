"""Objects that are not data: a fitted model that stays in its worker, a sealed copy of it, a function to call.

The model that writes the code is scripted here, so the example needs no key and no network.
"""

from __future__ import annotations

from collections.abc import Callable

import agex

FIT = """
class Line:
    def fit(self, xs, ys):
        mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
        self.slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys)) / sum((x - mean_x) ** 2 for x in xs)
        self.start = mean_y - self.slope * mean_x
        return self

    def predict(self, xs):
        return [self.start + self.slope * x for x in xs]

    def __repr__(self):
        return f"Line(slope={self.slope:g}, start={self.start:g})"

task_success(Line().fit(inputs.xs, inputs.ys))
"""
SCRIPT = [
    FIT,
    FIT,
    "task_success(max(inputs.line.predict(inputs.xs)))",
    "low, high = inputs.low, inputs.high\ntask_success(lambda value: min(max(value, low), high))",
]


def main() -> None:
    agent = agex.Agent(isolation="kernel", llm=agex.llm.Scripted(SCRIPT))

    @agent.task
    def fit(xs: list[float], ys: list[float]) -> agex.Handle[object]:
        """Fit a line, and give the fitted object."""
        raise NotImplementedError

    @agent.task
    def fit_and_seal(xs: list[float], ys: list[float]) -> agex.Opaque[object]:
        """Fit a line, and give the fitted object."""
        raise NotImplementedError

    @agent.task
    def highest(line: agex.Opaque[object], xs: list[float]) -> float:
        """The highest value that the line predicts."""
        raise NotImplementedError

    @agent.task
    def clamp(low: float, high: float) -> Callable[[float], float]:
        """A function that keeps a value within these bounds."""
        raise NotImplementedError

    xs, ys = [0.0, 1.0, 2.0], [1.0, 3.0, 5.0]

    # The object stays in its locked worker. Its methods run there, under the same policy, and data comes back.
    with fit(xs, ys) as line:
        print(line)
        print("predicted:", line.predict([3.0, 4.0]), "slope:", line.slope)

    # The object as bytes that only workers open: to be stored, and given to another task on another day.
    sealed = fit_and_seal(xs, ys)
    row = (sealed.data, sealed.sha256, sealed.type, sealed.repr)
    print("stored:", sealed.type, sealed.repr)
    print("highest:", highest(agex.Opaque(*row), [0.0, 10.0]))

    # A function of the agent's own: called here, with arguments that are checked; run there.
    within = clamp(0.0, 1.0)
    print("within:", within(0.25), within(7.5))
    agent.close()


if __name__ == "__main__":
    main()
