/* The texts of a page whose contrast with what lies behind them is below 4.5 (3 for large ones), and what is wider than the page. */
() => {
  const parse = (color) => {
    const parts = color.match(/[\d.]+/g).map(Number);
    return color.startsWith("color(srgb") ? [parts[0] * 255, parts[1] * 255, parts[2] * 255, parts[3] ?? 1] : [parts[0], parts[1], parts[2], parts[3] ?? 1];
  };
  const over = (top, below) => [0, 1, 2].map((k) => top[k] * top[3] + below[k] * (1 - top[3])).concat([1]);
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const style = getComputedStyle(at);
      if (style.backgroundImage !== "none") return null;
      layers.push(parse(style.backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const light = (color) => {
    const [r, g, b] = color.map((value) => value / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    if (element.closest("script, style, noscript, svg, mjx-container, [disabled], .visually-hidden")) continue;
    const style = getComputedStyle(element);
    const back = behind(element);
    if (!back || parseFloat(style.fontSize) === 0) continue;
    const color = over(parse(style.color), back);
    const [low, high] = [light(color), light(back)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5) - 0.005) {
      const key = `${element.tagName.toLowerCase()}.${element.className} ${style.color}`;
      if (!found.has(key)) found.set(key, `contrast ${ratio.toFixed(2)}: ${key}: ${text.slice(0, 40)}`);
    }
  }
  const width = document.documentElement.clientWidth;
  const wide = [];
  if (document.documentElement.scrollWidth > width + 1) {
    for (const element of document.querySelectorAll("main *")) {
      const box = element.getBoundingClientRect();
      if (box.right > width + 1 && !element.closest("pre, .pst-scrollable-table-container, mjx-container, .highlight")) {
        wide.push(`${element.tagName.toLowerCase()}.${element.className}`);
      }
    }
    wide.unshift(`the page is ${document.documentElement.scrollWidth} pixels wide, the window ${width}`);
  }
  const time = performance.getEntriesByType("navigation")[0];
  return { contrast: [...found.values()], wide: wide.slice(0, 4), seconds: (time.loadEventEnd - time.startTime) / 1000 };
}
