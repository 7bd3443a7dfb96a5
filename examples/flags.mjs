// Reads feature flags, keys below flags/, and hears of each change: URL USER PASSWORD. As flags.py, in Node.js 18.
const [url, user, password] = process.argv.slice(2);
const Authorization = "Basic " + Buffer.from(`${user}:${password}`).toString("base64");

async function ask(path, query) {
  const answer = await fetch(`${url}${path}?${new URLSearchParams(query)}`, { headers: { Authorization } });
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.message), { status: answer.status });
  return body;
}

async function readAll() {
  let page = await ask("/keys", { prefix: "flags/" });
  const { revision, keys } = page;
  while (page.cursor) {
    page = await ask("/keys", { prefix: "flags/", cursor: page.cursor });
    keys.push(...page.keys);
  }
  return { flags: new Map(keys.map(({ key, value }) => [key, value])), revision };
}

let { flags, revision } = await readAll();
for (;;) {
  console.log(JSON.stringify(Object.fromEntries([...flags].sort())));
  try {
    let events = [];
    while (events.length === 0) {
      ({ events, revision } = await ask("/changes", { prefix: "flags/", since: revision, wait: "30s" }));
    }
    for (const { type, key, value } of events) type === "put" ? flags.set(key, value) : flags.delete(key);
  } catch (error) {
    if (error.status === 410) ({ flags, revision } = await readAll()); // That history is gone.
    else if (error.status) throw error;
    else await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}
