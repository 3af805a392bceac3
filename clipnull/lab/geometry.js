// Geometry of a drawing: where positions are on screen, who wins where, where labels fit. It touches no page.
// Python puts it before plane.js: the two are one module.

const clamp = (x, low, high) => Math.min(high, Math.max(low, x))
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + (a[2] ?? 0) * (b[2] ?? 0)
const minus = (a, b) => a.map((x, j) => x - b[j])
const unit = v => { const size = Math.hypot(...v) || 1; return v.map(x => x / size) }
const SHAPES = {
  circle: r => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0z`,
  square: r => `M${-0.9 * r},${-0.9 * r}h${1.8 * r}v${1.8 * r}h${-1.8 * r}z`,
  triangle: r => `M0,${-1.15 * r}l${1.1 * r},${1.95 * r}h${-2.2 * r}z`,
  diamond: r => `M0,${-1.25 * r}l${1.25 * r},${1.25 * r}l${-1.25 * r},${1.25 * r}l${-1.25 * r},${-1.25 * r}z`,
}

/** How positions and pixels belong together, in the plane. */
function flat(width, [x0, x1, y0, y1]) {
  const scale = width / (x1 - x0)
  return {
    width, scale, height: Math.round(scale * (y1 - y0)),
    to: v => [scale * (v[0] - x0), scale * (y1 - v[1]), 1],
    from: (x, y) => [x0 + x / scale, y1 - y / scale],
    pixel: (x, y, v) => { v[0] = x0 + x / scale; v[1] = y1 - y / scale; v[3] = 1; return 1 },
  }
}

/** And on a globe seen from longitude a and latitude e. */
function globe(width, [a, e]) {
  const scale = width / 2 - 24, c = width / 2, [sa, ca, se, ce] = [Math.sin(a), Math.cos(a), Math.sin(e), Math.cos(e)]
  const R = [[-sa, ca, 0], [-se * ca, -se * sa, ce], [ce * ca, ce * sa, se]]
  const [[r0, r1], [u0, u1, u2], [f0, f1, f2]] = R
  const back = (x, y, z) => [x * r0 + y * u0 + z * f0, x * r1 + y * u1 + z * f1, y * u2 + z * f2]
  return {
    width, scale, height: width, back,
    to: v => [c + scale * dot(R[0], v), c - scale * dot(R[1], v), dot(R[2], v)],
    from: (x, y) => {
      const p = [(x - c) / scale, (c - y) / scale], [u, w] = p.map(t => t * Math.min(1, 0.985 / Math.hypot(...p)))
      return back(u, w, Math.sqrt(1 - u * u - w * w))
    },
    // v becomes the place, and its depth; the answer is how much of the pixel the globe covers
    pixel: (x, y, v) => {
      const p = (x - c) / scale, q = (c - y) / scale, far = Math.sqrt(p * p + q * q), z = Math.sqrt(Math.max(0, 1 - far * far))
      v[0] = p * r0 + q * u0 + z * f0
      v[1] = p * r1 + q * u1 + z * f1
      v[2] = q * u2 + z * f2
      v[3] = z
      return clamp((1 - far) * scale + 0.5, 0, 1)
    },
  }
}

/** The nearest point of a convex polygon whose corners are in order. */
function inside(corners, p) {
  let best = p, least = Infinity, turns = 0
  corners.forEach((a, i) => {
    const d = minus(corners[(i + 1) % corners.length], a), q = minus(p, a), t = clamp(dot(d, q) / (dot(d, d) || 1), 0, 1)
    const edge = [a[0] + t * d[0], a[1] + t * d[1]], far = Math.hypot(...minus(p, edge))
    turns += Math.sign(d[0] * q[1] - d[1] * q[0])
    if (far < least) [least, best] = [far, edge]
  })
  return Math.abs(turns) === corners.length ? p : best
}

/** Colour every pixel by the name with the largest score; a forgotten one must lead by more than `tie`. */
function paint(canvas, camera, names, on, { forgotten, tie }, colours, paper, ball) {
  const image = new ImageData(canvas.width, canvas.height), { data } = image, ratio = canvas.width / camera.width, v = new Float64Array(4)
  // kept names first: of equal scores the first wins
  const shown = [...names.keys()].filter(i => on[i]).sort((i, j) => forgotten[i] - forgotten[j]), T = shown.map(i => [names[i][0], names[i][1], names[i][2] ?? 0])
  const less = shown.map(i => (forgotten[i] ? tie : 0)), slopes = T.map(a => T.map(b => Math.hypot(...minus(a, b))))
  const dark = paper[0] < 128, own = ball ? (dark ? 0.82 : 0.62) : 1, alpha = dark ? 64 : 46
  const fills = shown.map(i => colours[i].map((x, c) => x * own + paper[c] * (1 - own)))
  for (let y = 0, p = 0; y < canvas.height; y++) for (let x = 0; x < canvas.width; x++, p += 4) {
    const cover = camera.pixel((x + 0.5) / ratio, (y + 0.5) / ratio, v)
    let best = -Infinity, next = -Infinity, k = -1, j = -1
    for (let i = 0; cover && i < T.length; i++) {
      const t = T[i], score = t[0] * v[0] + t[1] * v[1] + t[2] * v[2] - less[i]
      if (score > best) { next = best; j = k; best = score; k = i }
      else if (score > next) { next = score; j = i }
    }
    if (k < 0) continue
    // a thin line where two names meet: their lead over its slope is a distance
    const slope = j < 0 ? 0 : slopes[k][j], steep = ball ? Math.sqrt(Math.max(v[3], 0.25)) : 1, light = ball ? 0.78 + 0.22 * v[3] : 1
    const edge = slope > 1e-4 ? clamp(1.3 - (best - next) / slope * camera.scale * ratio / steep, 0, 1) : 0
    for (let c = 0; c < 3; c++) data[p + c] = fills[k][c] * light * (ball ? 1 - edge : 1) + (ball ? paper[c] * edge : 0)
    data[p + 3] = ball ? 255 * cover : alpha + 80 * edge
  }
  canvas.getContext("2d").putImageData(image, 0, 0)
}

/** Put labels where they hide least; one that has found a place keeps it while that is hardly worse. */
const SPOTS = [[0, -1], [1, -0.7], [-1, -0.7], [1, 0], [-1, 0], [0, 1], [1, 0.7], [-1, 0.7], [1, -2], [-1, -2], [0, -2.2], [0, 2.2]]
function settle(labels, taken, { width, height }, memory) {
  const shared = (a, b, j) => Math.max(0, Math.min(a[j + 2], b[j + 2]) - Math.max(a[j], b[j]))
  for (const label of labels) {
    let least = Infinity
    SPOTS.forEach(([sx, sy], i) => {
      const x = label.x + sx * (label.w / 2 + (Math.abs(sy) < 1 ? label.r + 5 : 0)), y = label.y + sy * (label.r + 11)
      const box = [x - label.w / 2, y - 9, x + label.w / 2, y + 9]
      const out = Math.max(0, -box[0]) + Math.max(0, -box[1]) + Math.max(0, box[2] - width) + Math.max(0, box[3] - height)
      const hidden = taken.reduce((sum, other) => sum + shared(box, other, 0) * shared(box, other, 1), 0)
      const cost = hidden + 60 * out + 4 * i - (memory.get(label.key) === i ? 60 : 0)
      if (cost < least) { least = cost; Object.assign(label, { i, at: [x, y], box }) }
    })
    memory.set(label.key, label.i)
    taken.push(label.box)
  }
}
