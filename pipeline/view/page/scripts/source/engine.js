"use strict";
// The queries of api/rows.json over one Parquet file in memory. Columns are decoded when a query first needs them: numbers as
// Float64Array with NaN for null, texts as numbers of a dictionary with -1 for null, so that a filter reads each text once.
(() => {
  const OUTCOMES = ["failed", "wrong", "broken", "survived"], TOTALS = ["images", "clean", "adv", "failed", "survived", "broken"];

  // Order texts by code points, as UTF-8 and DuckDB do; `<` of scripts orders by UTF-16.
  const key = (text) => [...text].map((c) => c.codePointAt(0));
  function compared(a, b) {
    if (a === b) return 0;
    if (!/[\ud800-\udfff]/.test(a + b)) return a < b ? -1 : 1;
    const x = key(a), y = key(b), i = x.findIndex((code, at) => code !== y[at]);
    return i < 0 ? -1 : y[i] === undefined || x[i] > y[i] ? 1 : -1;
  }

  // Return a text in lower case, character by character, as DuckDB does; of the rest of a character that becomes two, nothing.
  const lower = (text) => (/^[\x00-\x7f]*$/.test(text) ? text.toLowerCase()
    : Array.from(text, (c) => String.fromCodePoint(c.toLowerCase().codePointAt(0))).join(""));

  function numbers(values) {
    return { kind: "number", values: Float64Array.from(values, (value) => (value === null || value === undefined ? NaN : Number(value))) };
  }

  function texts(values) {
    const codes = new Int32Array(values.length), places = new Map();
    values.forEach((value, i) => {
      if (value === null || value === undefined) return void (codes[i] = -1);
      if (!places.has(value)) places.set(value, places.size);
      codes[i] = places.get(value);
    });
    return { kind: "text", codes, words: [...places.keys()] };
  }

  const at = (column, i) => {
    if (column.kind === "text") return column.codes[i] < 0 ? null : column.words[column.codes[i]];
    return Number.isNaN(column.values[i]) ? null : column.values[i];
  };

  // Return the test of one value, null left aside, for a clause of a query.
  function test(kind, op, value) {
    const fits = (v) => (kind === "text" ? typeof v === "string" : typeof v === "number");
    const order = kind === "text" ? compared : (a, b) => a - b;
    if (op === "in") {
      if (!Array.isArray(value) || !value.every(fits)) throw new Error("`in` takes a list of values of the column's kind");
      const wanted = new Set(value);
      return (v) => wanted.has(v);
    }
    if (op === "contains") {
      if (kind !== "text" || typeof value !== "string") throw new Error("`contains` is for columns of texts");
      const part = lower(value);
      return (v) => lower(v).includes(part);
    }
    if (!fits(value)) throw new Error(`the value of a filter must be a ${kind}`);
    const tests = { "=": (c) => c === 0, "!=": (c) => c !== 0, "<": (c) => c < 0, "<=": (c) => c <= 0, ">": (c) => c > 0,
      ">=": (c) => c >= 0 };
    if (!(op in tests)) throw new Error("a filter has one of = != < <= > >= in contains null notnull");
    return (v) => tests[op](order(v, value));
  }

  // Return the places of `places` whose value passes a clause.
  function filtered(column, [, op, value], places) {
    const text = column.kind === "text", empty = text ? (i) => column.codes[i] < 0 : (i) => Number.isNaN(column.values[i]);
    if (op === "null") return places.filter(empty);
    if (op === "notnull") return places.filter((i) => !empty(i));
    const passes = test(column.kind, op, value), none = op === "!="; // what is missing differs from every value
    if (!text) return places.filter((i) => (empty(i) ? none : passes(column.values[i])));
    const right = column.words.map(passes);
    return places.filter((i) => (empty(i) ? none : right[column.codes[i]]));
  }

  // Return numbers that order the rows as a column does; null last in both directions, by NaN.
  function ranks(column) {
    if (column.kind === "number") return column.values;
    if (!column.ranks) {
      const sorted = column.words.map((word, code) => [word, code]).sort((a, b) => compared(a[0], b[0]));
      const rank = new Float64Array(column.words.length);
      sorted.forEach(([, code], place) => (rank[code] = place));
      column.ranks = Float64Array.from(column.codes, (code) => (code < 0 ? NaN : rank[code]));
    }
    return column.ranks;
  }

  function sorted(places, orders) {
    if (!orders.length) return places;
    return places.sort((a, b) => {
      for (const [values, sign] of orders) {
        const x = values[a], y = values[b];
        if (x === y || (Number.isNaN(x) && Number.isNaN(y))) continue;
        if (Number.isNaN(x)) return 1;
        if (Number.isNaN(y)) return -1;
        return sign * (x - y);
      }
      return a - b; // rows that are equal stay in their order
    });
  }

  const sign = (direction) => (direction === "desc" ? -1 : 1);
  const page = (items, { offset = 0, limit = 100 }) => items.slice(offset, offset + Math.min(limit, 1000));

  // Return the lines of groups as columns: one value a group.
  function grouped(columns, shares, places, names) {
    const found = new Map(), lines = [];
    for (const i of places) {
      const id = names.map((name) => { const c = columns[name]; return c.kind === "text" ? c.codes[i] : c.values[i]; }).join("|");
      if (!found.has(id)) {
        found.set(id, { first: i, images: 0, clean: 0, adv: 0, failed: 0, survived: 0, broken: 0 });
        lines.push(found.get(id));
      }
      const line = found.get(id), outcome = OUTCOMES[shares.outcome.codes[i]];
      if (outcome === "failed") { line.failed += 1; continue; }
      line.images += 1;
      line.clean += shares.clean.values[i];
      line.adv += shares.adv.values[i];
      if (outcome !== "wrong") line[outcome] += 1;
    }
    const total = (name) => lines.map((line) => (name !== "clean" && name !== "adv" ? line[name] : line.images ? line[name] / line.images
      : null));
    return {
      columns: { ...Object.fromEntries(names.map((name) => {
        const own = lines.map((line) => at(columns[name], line.first));
        return [name, columns[name].kind === "text" ? texts(own) : numbers(own)];
      })), ...Object.fromEntries(TOTALS.map((name) => [name, numbers(total(name))])) },
      size: lines.length,
    };
  }

  // Return an object that answers queries on the bytes of a Parquet file.
  view.engine = (bytes) => {
    const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength), metadata = parquet.parquetMetadata(buffer);
    const size = Number(metadata.num_rows), stored = new Map(metadata.schema.slice(1).map((field) => [field.name, field]));
    const decoded = new Map();

    async function read(name) {
      const field = stored.get(name), values = new Array(size).fill(null);
      const file = { byteLength: buffer.byteLength, slice: (start, end) => buffer.slice(start, end) };
      await parquet.parquetRead({
        file, metadata, columns: [name], compressors: parquet.compressors,
        onChunk: ({ columnData, rowStart }) => { for (let i = 0; i < columnData.length; i++) values[rowStart + i] = columnData[i]; },
      });
      return field.type === "BYTE_ARRAY" ? texts(values) : numbers(values);
    }

    const column = (name) => {
      if (!stored.has(name)) throw new Error(`there is no column ${view.format.text(name, 40)}`);
      if (!decoded.has(name)) decoded.set(name, read(name));
      return decoded.get(name);
    };

    function outcome(status, clean, adv) {
      const ok = status.words.indexOf("ok"), codes = new Int32Array(size);
      for (let i = 0; i < size; i++) codes[i] = status.codes[i] !== ok ? 0 : !(clean.values[i] > 0.5) ? 1 : !(adv.values[i] > 0.5) ? 2 : 3;
      return { kind: "text", codes, words: OUTCOMES };
    }

    async function derived(name, { rule = "single", top = 1 }) {
      if (name === "clean" || name === "adv") return column(`${name}_${rule}_${top}`);
      const id = `outcome of ${rule} ${top}`;
      if (!decoded.has(id)) decoded.set(id,
        Promise.all(["status", `clean_${rule}_${top}`, `adv_${rule}_${top}`].map(column)).then((three) => outcome(...three)));
      return decoded.get(id);
    }

    const DERIVED = new Set(["clean", "adv", "outcome"]), SCORES = /^(clean|adv)_[a-z0-9_]+_[15]$/;
    const names = [...view.columns.ALL, "picture"].filter((name) => stored.has(name) || DERIVED.has(name));
    const named = async (asked, wanted) => {
      const unique = [...new Set(wanted)];
      for (const name of unique) if (SCORES.test(name)) throw new Error(`there is no column ${view.format.text(name, 40)}`);
      const found = await Promise.all(unique.map((name) => (DERIVED.has(name) ? derived(name, asked) : column(name))));
      return Object.fromEntries(unique.map((name, i) => [name, found[i]]));
    };

    async function answer(asked) {
      const where = asked.where ?? [], sort = asked.sort ?? [], group = asked.group ?? [];
      const filters = await named(asked, where.map(([name]) => name));
      let places = Uint32Array.from({ length: size }, (_, i) => i);
      for (const clause of where) places = filtered(filters[clause[0]], clause, places);
      if (group.length) return groups(asked, places, group, sort);
      const by = await named(asked, sort.map(([name]) => name)), wanted = asked.columns ?? names;
      places = sorted(places, sort.map(([name, direction]) => [ranks(by[name]), sign(direction)]));
      const columns = await named(asked, wanted);
      return { total: places.length, columns: wanted, rows: Array.from(page(places, asked),
        (i) => wanted.map((name) => at(columns[name], i))) };
    }

    async function groups(asked, places, group, sort) {
      const shares = await named(asked, ["clean", "adv", "outcome"]);
      const { columns, size: lines } = grouped(await named(asked, group), shares, places, group), wanted = [...group, ...TOTALS];
      for (const [name] of sort) if (!wanted.includes(name)) throw new Error(`groups have no column ${view.format.text(name, 40)}`);
      const orders = [...sort, ...group.map((name) => [name, "asc"])].map(([name, direction]) => [ranks(columns[name]), sign(direction)]);
      const order = sorted(Uint32Array.from({ length: lines }, (_, i) => i), orders);
      return { total: lines, columns: wanted, rows: Array.from(page(order, asked), (i) => wanted.map((name) => at(columns[name], i))) };
    }
    return { answer, size };
  };
})();
