"""LLaMo's graph encoder (MoleculeSTM's) and projector, written down again under the original's parameter names and in
its order of steps, for tests: a molecule at a time."""

import torch
from torch import nn


class Embeddings(nn.Module):
    """OGB's AtomEncoder and BondEncoder."""

    def __init__(self, name, sizes, hidden_size):
        super().__init__()
        self.name = name
        setattr(self, name, nn.ModuleList(nn.Embedding(size, hidden_size) for size in sizes))

    def forward(self, x):
        return sum(embed(x[:, i]) for i, embed in enumerate(getattr(self, self.name)))


class GINConv(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(size, 2 * size), nn.BatchNorm1d(2 * size), nn.ReLU(), nn.Linear(2 * size, size)
        )
        self.eps = nn.Parameter(torch.tensor([0.3]))
        self.bond_encoder = Embeddings("bond_embedding_list", [5, 6, 2], size)

    def forward(self, x, edge_index, edge_attr):
        messages = (x[edge_index[0]] + self.bond_encoder(edge_attr)).relu()
        return self.mlp((1 + self.eps) * x + torch.zeros_like(x).index_add(0, edge_index[1], messages))


class GNN(nn.Module):
    def __init__(self, size, num_layers, atom_sizes):
        super().__init__()
        self.atom_encoder = Embeddings("atom_embedding_list", atom_sizes, size)
        self.gnns = nn.ModuleList(GINConv(size) for _ in range(num_layers))
        self.batch_norms = nn.ModuleList(nn.BatchNorm1d(size) for _ in range(num_layers))

    def forward(self, x, edge_index, edge_attr):
        h_list = [self.atom_encoder(x)]
        for i, (gnn, norm) in enumerate(zip(self.gnns, self.batch_norms, strict=True)):
            h = norm(gnn(h_list[-1], edge_index, edge_attr))
            h_list.append(h if i == len(self.gnns) - 1 else h.relu())
        return h_list


class GraphModel(nn.Module):
    def __init__(self, size, num_layers, atom_sizes):
        super().__init__()
        self.molecule_node_model = GNN(size, num_layers, atom_sizes)
        self.graph_pred_linear = nn.Linear(size, 1)


class Projector(nn.Module):
    def __init__(self, size, out_size, levels):
        super().__init__()
        self.motif_weight = nn.Linear(73, size, bias=False)
        self.motif_cross_attention = nn.MultiheadAttention(size, 4, batch_first=True)
        self.motif_query_tokens = nn.Parameter(torch.randn(4, size))
        self.cross_attention = nn.ModuleList([nn.MultiheadAttention(size, 4, batch_first=True)] * levels)
        self.query_tokens = nn.Parameter(torch.randn(levels, 4, size))
        self.layer_norm = nn.LayerNorm(size)
        self.net = nn.Sequential(nn.Linear(size, out_size), nn.SiLU(), nn.Linear(out_size, out_size))

    def forward(self, h_list, motifs):
        x = [attend(q, h, h)[0] for attend, q, h in zip(self.cross_attention, self.query_tokens, h_list, strict=True)]
        motif = self.motif_weight(motifs)
        x = torch.cat([self.motif_cross_attention(self.motif_query_tokens, motif, motif)[0], *x])
        return self.net(self.layer_norm(x))


class Mllm(nn.Module):
    """What its Lightning module holds under `mllm`."""

    def __init__(self, language_model, size=24, num_layers=5, atom_sizes=(119, 4, 12, 12, 10, 6, 6, 2, 2)):
        super().__init__()
        self.graph_model = GraphModel(size, num_layers, atom_sizes)
        self.ln_graph_model = nn.LayerNorm(size)
        self.abstractor = Projector(size, language_model.config.hidden_size, num_layers + 1)
        self.language_model = language_model
