"""A training loop of one's own: the steps, batches and rates of `opdsl.train`, and nothing else."""

from waves import PROGRAM, waves

import opdsl

EPOCHS = 20

training = opdsl.prepare_training(
    PROGRAM,
    data=waves(200, seed=0),
    valid=waves(50, seed=1),
    epochs=EPOCHS,
    **{"optimizer.lr": 5e-3},
)
step, number = training.step, 0
for epoch in range(EPOCHS):
    step.begin()
    for batch in training.batches(epoch):
        result = step.learn(batch, training.rate(number))
        number += 1
    if epoch % 5 == 4:
        metrics = training.validate()
        print(f"epoch {epoch + 1}  loss {result.loss:.3f}  valid {metrics.rel_l2:.3f}")
operator = training.operator()  # between physical values
print(f"error {metrics.rel_l2:.3f}")
