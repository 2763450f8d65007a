"""Random processes of prices, drawn for each copy and episode: what ``data.simulation`` names."""
