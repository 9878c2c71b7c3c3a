
"use strict";
// Sorts and searches the rows. What is chosen stands in the address behind #, so that it can be kept and sent.
(() => {
  const list = document.getElementById("rows");
  if (!list) return;
  const rows = [...list.children].map((element, place) => ({
    element, place,
    text: element.textContent.toLowerCase(),
    groups: element.dataset.groups.split(" "),
    reason: element.dataset.reason,
    measures: JSON.parse(element.dataset.measures),
  }));
  const controls = Object.fromEntries(
    ["find", "group", "reason", "sort", "order"].map((name) => [name, document.getElementById(name)]));
  const count = document.getElementById("count");

  function read() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    for (const [name, control] of Object.entries(controls)) {
      const value = wanted.get(name) ?? "";
      const isKnown = control.tagName !== "SELECT" || [...control.options].some((option) => option.value === value);
      control.value = isKnown ? value : control.options[0].value;
    }
  }

  function apply() {
    const words = controls.find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const fits = words.every((word) => row.text.includes(word))
        && (!controls.group.value || row.groups.includes(controls.group.value))
        && (!controls.reason.value || row.reason === controls.reason.value);
      row.element.hidden = !fits;
      shown += fits;
    }
    const key = controls.sort.value, sign = controls.order.value === "up" ? 1 : -1;
    const value = (row) => row.measures[key] ?? null;
    const ordered = [...rows].sort((a, b) => {
      if (!key) return a.place - b.place;
      const x = value(a), y = value(b);
      if (x === null || y === null) return (x === null) - (y === null) || a.place - b.place;
      return sign * (x - y) || a.place - b.place;
    });
    list.append(...ordered.map((row) => row.element));
    count.textContent = `${shown} of ${rows.length} rows`;
  }

  function changed() {
    const kept = new URLSearchParams();
    for (const [name, control] of Object.entries(controls)) if (control.value) kept.set(name, control.value);
    history.replaceState(null, "", `#${kept}`);
    apply();
  }

  for (const control of Object.values(controls)) control.addEventListener("input", changed);
  // A link to a section is no choice of rows.
  window.addEventListener("hashchange", () => { if (location.hash.includes("=")) { read(); apply(); } });
  read();
  apply();
})();
