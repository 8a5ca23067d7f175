"""The compiled module in Lightning, which knows nothing of opdsl."""

import tempfile

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset
from waves import PROGRAM, waves

import opdsl


class WaveModule(lightning.LightningModule):
    """Learns the waves by their squared error."""

    def __init__(self):
        super().__init__()
        self.operator = opdsl.compile(PROGRAM)

    def forward(self, a):
        return self.operator(a)

    def training_step(self, batch, _index):
        a, u = batch
        return torch.nn.functional.mse_loss(self(a), u)

    def validation_step(self, batch, _index):
        a, u = batch
        self.log("error", (self(a) - u).norm() / u.norm())

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=5e-3)


def loader(count, seed, **more):
    data = waves(count, seed)
    tensors = TensorDataset(torch.from_numpy(data["a"]), torch.from_numpy(data["u"]))
    return DataLoader(tensors, batch_size=20, **more)


torch.manual_seed(0)
with tempfile.TemporaryDirectory() as folder:
    trainer = lightning.Trainer(
        max_epochs=20,
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = WaveModule()
    trainer.fit(module, loader(200, seed=0, shuffle=True), loader(50, seed=1))
print(f"error {float(trainer.callback_metrics['error']):.3f}")
