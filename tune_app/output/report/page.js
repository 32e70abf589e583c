"use strict";
// Draw every figure in its place; when all are drawn, the page says so to whoever prints or tests it.
const figures = JSON.parse(document.getElementById("figures").textContent);
const config = { responsive: true, displayModeBar: false };
const drawn = Object.entries(figures).map(([id, figure]) => Plotly.newPlot(id, figure.data, figure.layout, config));
Promise.all(drawn).then(() => {
  document.body.dataset.drawn = drawn.length;
});
window.addEventListener("beforeprint", () => {
  for (const id of Object.keys(figures)) Plotly.Plots.resize(id);
});
