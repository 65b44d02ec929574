"use strict";
// Figures come with names of CSS variables for colours, so that one figure serves light, dark and paper.
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const charts = figures.map((_, index) => document.getElementById(`chart-${index}`));
  const dark = window.matchMedia("screen and (prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 40rem)");
  const HOUR = 3600e3;

  const resolved = (value, style) => {
    if (typeof value === "string") return value.startsWith("--") ? style.getPropertyValue(value).trim() : value;
    if (Array.isArray(value)) return typeof value[0] === "object" ? value.map((item) => resolved(item, style)) : value;
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolved(item, style)]));
  };

  const draw = (index) => {
    const style = getComputedStyle(document.documentElement);
    const { data, layout } = resolved(figures[index], style);
    const range = charts[index].layout?.xaxis?.range;
    layout.dragmode = narrow.matches ? false : "zoom"; // on a phone a drag scrolls the page
    layout.xaxis.nticks = narrow.matches ? 5 : 13;
    if (charts[index].dataset.zoomed === "true") layout.xaxis.range = range;
    data.forEach((trace, number) => {
      const button = document.querySelector(`button[data-chart="${index}"][data-trace="${number}"]`);
      trace.visible = button === null || button.getAttribute("aria-pressed") === "true";
    });
    return Plotly.react(charts[index], data, layout, { displayModeBar: false, responsive: true, scrollZoom: false });
  };
  const drawAll = () => charts.forEach((_, index) => draw(index));

  const zoom = (index, from, to) => {
    charts[index].dataset.zoomed = String(from !== null);
    return Plotly.relayout(charts[index], from === null ? { "xaxis.autorange": true } : { "xaxis.range": [from, to] });
  };
  const utc = (text) => Date.parse(`${text.replace(" ", "T").slice(0, 23)}Z`);
  const move = (index, how) => {
    if (how === "all") return zoom(index, null);
    const [from, to] = charts[index].layout.xaxis.range.map((edge) => (typeof edge === "number" ? edge : utc(edge)));
    const width = to - from;
    const by = { earlier: [-width / 3, -width / 3], later: [width / 3, width / 3], in: [width / 4, -width / 4], out: [-width / 2, width / 2] }[how];
    return zoom(index, text(from + by[0]), text(to + by[1]));
  };
  const text = (milliseconds) => new Date(milliseconds).toISOString().replace("T", " ").slice(0, 19);

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-chart]");
    if (!button) return;
    const index = Number(button.dataset.chart);
    if (button.dataset.trace !== undefined) {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      draw(index);
    } else if (button.dataset.zoom) {
      move(index, button.dataset.zoom);
    } else {
      const at = utc(button.dataset.at);
      zoom(index, text(at - HOUR), text(at + HOUR));
      const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
      charts[index].scrollIntoView({ block: "center", behavior: still ? "auto" : "smooth" });
    }
  });

  dark.addEventListener("change", drawAll); // also when print begins and ends: paper is never dark
  narrow.addEventListener("change", drawAll);
  window.addEventListener("beforeprint", drawAll);
  drawAll();
  charts.forEach((chart) => { chart.dataset.zoomed = "false"; });
  charts.forEach((chart) => chart.on("plotly_relayout", (change) => {
    if ("xaxis.range[0]" in change) chart.dataset.zoomed = "true";
    if (change["xaxis.autorange"]) chart.dataset.zoomed = "false";
  }));
})();
