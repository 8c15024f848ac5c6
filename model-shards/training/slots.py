"""What every trainer shares: training in slots that resume, settings that follow the steps, averaged weights, progress."""
import argparse
import sys
import time

import torch

from config import load_config


def arguments(description, *more):
    """The trainers' command line: (arguments, config). more: (flag, options) of one trainer alone."""
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("config", help="for example emoji-128.json")
    p.add_argument("--work", default="", help="folder of checkpoints and sample sheets; default work/<name>")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--threads", type=int, default=torch.get_num_threads())
    p.add_argument("--slot", type=float, default=590, help="seconds after which this run saves and stops; run it again to go on")
    for flag, options in more:
        p.add_argument(flag, **options)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    config = load_config(a.config)
    a.work = a.work or "work/" + config["name"]
    return a, config


def autocast(device):
    return torch.autocast(device.split(":")[0], dtype=torch.bfloat16)


def ramp(setting, progress):
    """A number, or [at the start, at the end] of training."""
    return setting[0] + (setting[1] - setting[0]) * progress if isinstance(setting, list) else setting


def rate(step, train):
    """Learning-rate factor: a short rise, then linear to nothing over the last `decay` (a fraction) of the steps."""
    return min(1.0, (step + 1) / train["warmup"]) * min(1.0, (1 - step / train["steps"]) / train["decay"] + 0.003)


class Average:
    """Exponential moving average of a module's floating-point state."""

    def __init__(self, module, decay, fixed="-"):
        """fixed: start of the names that training leaves as they are."""
        self.decay, self.steps = decay, 0
        self.state = {k: v.detach().clone().float() for k, v in module.state_dict().items() if v.is_floating_point() and not k.startswith(fixed)}

    @torch.no_grad()
    def update(self, module):
        self.steps += 1
        keep = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for k, v in module.state_dict().items():
            if k in self.state:
                self.state[k].lerp_(v.float(), 1 - keep)

    def full(self, module):
        return {k: self.state.get(k, v) for k, v in module.state_dict().items()}


class Slot:
    """Time of one run, and a bar (a line every twenty steps where the output is no terminal)."""

    def __init__(self, seconds, step, steps):
        self.start, self.seconds, self.first, self.steps = time.time(), seconds, step, steps
        self.shown = self.start

    def over(self, step):
        return step >= self.steps or time.time() - self.start > self.seconds

    def show(self, step, text):
        live = sys.stdout.isatty()
        if live and time.time() - self.shown > 0.5 or not live and step % 20 == 0 or step == self.steps:
            self.shown = time.time()
            pace = (time.time() - self.start) / max(1, step - self.first)
            done = round(24 * step / self.steps)
            bar = "#" * done + "." * (24 - done)
            print(f"{bar} step {step}/{self.steps}, {pace:.2f} s a step, {pace * (self.steps - step) / 60:.0f} min left, {text}",
                  end="\r" if live and step < self.steps else "\n", flush=True)
