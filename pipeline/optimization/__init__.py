"""The optimizer, and its learning rate as a stateless function of the step."""

from pipeline.optimization.optimizer import ParameterGroup, check_optimizer, create_optimizer
from pipeline.optimization.schedule import (
    check_schedule,
    depends_on_length,
    learning_rate_factor,
    schedule_problems,
    set_learning_rate,
)

__all__ = [
    "ParameterGroup",
    "check_optimizer",
    "check_schedule",
    "create_optimizer",
    "depends_on_length",
    "learning_rate_factor",
    "schedule_problems",
    "set_learning_rate",
]
