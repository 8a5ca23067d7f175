"""The compiled module with Accelerate, which places module, optimizer and batches."""

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, TensorDataset
from waves import PROGRAM, waves

import opdsl


def loader(count, seed, **more):
    data = waves(count, seed)
    tensors = TensorDataset(torch.from_numpy(data["a"]), torch.from_numpy(data["u"]))
    return DataLoader(tensors, batch_size=20, **more)


torch.manual_seed(0)
accelerator = Accelerator(cpu=True)
module = opdsl.compile(PROGRAM)
optimizer = torch.optim.AdamW(module.parameters(), lr=5e-3)
module, optimizer, train, valid = accelerator.prepare(
    module, optimizer, loader(200, seed=0, shuffle=True), loader(50, seed=1)
)
for _ in range(20):
    module.train()
    for a, u in train:
        optimizer.zero_grad()
        accelerator.backward(torch.nn.functional.mse_loss(module(a), u))
        optimizer.step()
module.eval()
with torch.no_grad():
    squares = [((module(a) - u).square().sum(), u.square().sum()) for a, u in valid]
print(f"error {float(sum(x for x, _ in squares) / sum(y for _, y in squares)) ** 0.5:.3f}")
