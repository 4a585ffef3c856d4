from torch.nn.modules.lazy import *
