"use strict";
// Figures come with names of CSS variables for colours, so that one figure serves light, dark and paper.
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const charts = figures.map((_, index) => document.getElementById(`chart-${index}`));
  const dark = window.matchMedia("screen and (prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 40rem)");
  const print = window.matchMedia("print");
  const HOUR = 3600e3;
  const PAPER = 685; // pixels between the margins of an upright page; a drawing of the screen's width would be cut
  const LEAST = 100; // pixels; a window on its way to another size may have none, and Plotly fails without room
  let printing = false;

  const resolved = (value, style) => {
    if (typeof value === "string") return value.startsWith("--") ? style.getPropertyValue(value).trim() : value;
    if (Array.isArray(value)) return typeof value[0] === "object" ? value.map((item) => resolved(item, style)) : value;
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolved(item, style)]));
  };

  const draw = (index) => {
    if (!printing && charts[index].clientWidth < LEAST) return null;
    const style = getComputedStyle(document.documentElement);
    const { data, layout } = resolved(figures[index], style);
    const range = charts[index]._fullLayout && rangeOf(index);
    if (printing || print.matches) layout.width = PAPER;
    layout.dragmode = narrow.matches ? false : "zoom"; // on a phone a drag scrolls the page
    if (narrow.matches && layout.showlegend) layout.height += 14 * data.length; // a line each, under the chart
    layout.xaxis.nticks = narrow.matches ? 5 : layout.width ? 8 : 13;
    if (charts[index].dataset.zoomed === "true") layout.xaxis.range = range;
    data.forEach((trace, number) => {
      const button = document.querySelector(`button[data-chart="${index}"][data-trace="${number}"]`);
      trace.visible = button === null || button.getAttribute("aria-pressed") === "true";
    });
    return Plotly.react(charts[index], data, layout, { displayModeBar: false, responsive: true, scrollZoom: false });
  };
  const drawAll = () => charts.forEach((_, index) => draw(index));

  const rangeOf = (index) => charts[index]._fullLayout.xaxis.range; // `layout` has none after it was drawn anew
  const zoom = (index, from, to) => {
    charts[index].dataset.zoomed = String(from !== null);
    return Plotly.relayout(charts[index], from === null ? { "xaxis.autorange": true } : { "xaxis.range": [from, to] });
  };
  const utc = (text) => Date.parse(`${text.replace(" ", "T").slice(0, 23)}Z`);
  const move = (index, how) => {
    if (how === "all") return zoom(index, null);
    const [from, to] = rangeOf(index).map((edge) => (typeof edge === "number" ? edge : utc(edge)));
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

  // The marks are a tab stop of each chart: arrows go from one to the next, and focus shows what hovering shows.
  const place = (point) => ({
    curveNumber: point.closest(".trace").__data__[0].trace.index,
    pointNumber: point.__data__.i,
  });
  const spoken = (index, { curveNumber, pointNumber }) => {
    const trace = figures[index].data[curveNumber];
    const words = (trace.hovertext ?? trace.text)[pointNumber].replaceAll("<br>", " ");
    const plain = words.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
    return trace.x[pointNumber].replace === undefined ? plain : `${trace.x[pointNumber]} UTC, ${plain}`;
  };
  const marks = (index) => [...charts[index].querySelectorAll(".point")];
  // What is written beside a mark takes the first free place around it, off the lines if it can, Tidegate's first. Where
  // none is free, hovering and the table still say it.
  const PLACES = [[0, 1], [0, -1], [1, 0], [-1, 0], [1, 1], [-1, 1], [1, -1], [-1, -1]];
  const AIR = 2; // pixels to either side, or two numbers read as one
  const STEP = 4; // pixels between the points that stand for a line
  const box = (element) => element.getBoundingClientRect();
  const apart = (one, other) =>
    one.right + AIR <= other.left || other.right + AIR <= one.left || one.bottom <= other.top || other.bottom <= one.top;
  const points = (line) => {
    const spots = Array.from({ length: Math.ceil(line.getTotalLength() / STEP) }, (_, number) =>
      line.getPointAtLength(number * STEP).matrixTransform(line.getScreenCTM()));
    return spots.map(({ x, y }) => ({ left: x, right: x, top: y, bottom: y }));
  };
  const around = (mark, { width, height }) => PLACES.map(([right, down]) => {
    const left = (mark.left + mark.right - width) / 2 + right * ((mark.width + width) / 2 + AIR);
    const top = (mark.top + mark.bottom - height) / 2 + (down * (mark.height + height)) / 2;
    return { left, right: left + width, top, bottom: top + height };
  });
  const uncrowd = (index) => {
    const labels = [...charts[index].querySelectorAll(".textpoint text")];
    if (labels.length === 0) return;
    const size = (label) => label.closest(".trace").__data__[0].trace.marker.size;
    const { l, w } = charts[index]._fullLayout._size;
    const [first, last] = [box(charts[index]).left + l, box(charts[index]).left + l + w];
    const lines = [...charts[index].querySelectorAll(".js-line")].flatMap(points);
    const taken = marks(index).map(box);
    labels.sort((one, other) => size(other) - size(one)).forEach((label) => {
      ["dx", "dy", "display"].forEach((name) => label.removeAttribute(name));
      const mark = label.closest(".trace").querySelectorAll(".point")[label.closest(".textpoint").__data__.i];
      const at = box(label);
      const free = around(box(mark), at).filter((place) =>
        place.left >= first && place.right <= last && taken.every((other) => apart(place, other)));
      const place = free.find((each) => lines.every((other) => apart(each, other))) ?? free[0];
      if (place === undefined) return label.setAttribute("display", "none");
      label.setAttribute("dx", place.left - at.left);
      label.setAttribute("dy", place.top - at.top);
      return taken.push(place);
    });
  };
  const prepare = (index) => {
    charts[index].querySelectorAll("text").forEach((label) => label.setAttribute("aria-hidden", "true"));
    uncrowd(index);
    const known = Number(charts[index].dataset.mark ?? 0);
    marks(index).forEach((point, number) => {
      point.setAttribute("role", "img");
      point.setAttribute("aria-label", spoken(index, place(point)));
      point.setAttribute("tabindex", number === known ? "0" : "-1");
    });
  };
  const shown = (index, number) => {
    const { curveNumber, pointNumber } = place(marks(index)[number]);
    const x = figures[index].data[curveNumber].x[pointNumber];
    const [from, to] = rangeOf(index);
    if (typeof x !== "string" || (utc(x) >= utc(from) && utc(x) <= utc(to))) return Promise.resolve();
    const half = (utc(to) - utc(from)) / 2;
    return zoom(index, text(utc(x) - half), text(utc(x) + half));
  };
  document.addEventListener("focusin", (event) => {
    const chart = event.target.closest?.(".point")?.closest(".chart");
    if (!chart) return;
    const index = charts.indexOf(chart);
    const number = marks(index).indexOf(event.target);
    marks(index).forEach((point, other) => point.setAttribute("tabindex", other === number ? "0" : "-1"));
    chart.dataset.mark = number;
    Plotly.Fx.hover(chart, [place(event.target)]);
  });
  document.addEventListener("focusout", (event) => {
    const chart = event.target.closest?.(".point")?.closest(".chart");
    if (chart) Plotly.Fx.unhover(chart);
  });
  document.addEventListener("keydown", (event) => {
    const chart = event.target.closest?.(".point")?.closest(".chart");
    if (!chart) return;
    const index = charts.indexOf(chart);
    const [last, at] = [marks(index).length - 1, marks(index).indexOf(event.target)];
    const next = { ArrowLeft: at - 1, ArrowUp: at - 1, ArrowRight: at + 1, ArrowDown: at + 1, Home: 0, End: last }[event.key];
    if (event.key === "Escape") Plotly.Fx.unhover(chart);
    if (next === undefined) return;
    event.preventDefault();
    const number = Math.min(Math.max(next, 0), last);
    shown(index, number).then(() => marks(index)[number].focus({ preventScroll: true }));
  });

  dark.addEventListener("change", drawAll); // also when print begins and ends: paper is never dark
  narrow.addEventListener("change", drawAll);
  print.addEventListener("change", drawAll);
  window.addEventListener("beforeprint", () => { printing = true; drawAll(); });
  window.addEventListener("afterprint", () => { printing = false; drawAll(); });
  drawAll();
  charts.forEach((chart, index) => {
    chart.dataset.zoomed = "false";
    prepare(index);
    chart.on("plotly_afterplot", () => prepare(index));
  });
  charts.forEach((chart) => chart.on("plotly_relayout", (change) => {
    if ("xaxis.range[0]" in change) chart.dataset.zoomed = "true";
    if (change["xaxis.autorange"]) chart.dataset.zoomed = "false";
  }));
})();
