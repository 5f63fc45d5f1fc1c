import numpy as np
import pytest

from jepa_robot.errors import PlanningError
from jepa_robot.planning import build_planner, build_planners, plan_together

def test_several_planners_find_together_what_each_finds_alone(toy, settings):
    goals, starts = ((0.7, 0.6), (0.2, 0.9), (0.5, 0.1)), ((0.2, 0.3), (0.8, 0.3), (0.5, 0.8))

    def runs(together: bool) -> list[np.ndarray]:
        planners, robots = build_planners(toy.Model(), 3, settings), [toy.Robot(start) for start in starts]
        for planner, goal in zip(planners, goals):
            planner.reset(toy.draw(np.array(goal)), seed=4)
        taken = []
        for step in range(4):
            if step == 2:  # one begins anew: it has no plan to start from, and is searched for apart
                planners[1].reset(toy.draw(np.array(goals[1])), seed=5)
            seen = [robot.observe() for robot in robots]
            plans = plan_together(planners, seen) if together else [p.plan(o) for p, o in zip(planners, seen)]
            for planner, robot, plan in zip(planners, robots, plans):
                planner.executed(plan.actions[0])
                robot.step(plan.actions[0])
            taken.append(np.stack([plan.actions for plan in plans]))
        return taken

    for one, other in zip(runs(True), runs(False)):
        assert np.array_equal(one, other)


def test_planners_of_different_engines_do_not_plan_together(toy, settings):
    planners = [build_planner(toy.Model(), settings) for _ in range(2)]
    for planner in planners:
        planner.reset(toy.draw(toy.goal))
    with pytest.raises(PlanningError, match="one engine"):
        plan_together(planners, [toy.Robot(toy.start).observe()] * 2)
