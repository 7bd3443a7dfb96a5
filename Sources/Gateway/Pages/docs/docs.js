// Starts Swagger UI on the description that this gateway serves beside the page.
"use strict";

// Swagger UI's own dark colours hang on a class.
const darkness = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", darkness.matches);
darkness.addEventListener("change", follow);
follow();

// Makes a form of what is a description.
const adapt = (spec) => {
  const operations = Object.values(spec.paths).flatMap(Object.values).filter((operation) => operation.responses);

  // What one has to know to begin; the rest is in the description itself, which the page links.
  delete spec.info.summary;
  spec.info.description = spec.info.description.split("\n\n").slice(0, 2).join("\n\n");

  // Fields are filled with examples, and what is in a field is sent.
  const shared = Object.values(spec.components?.parameters ?? {});
  for (const parameter of operations.flatMap((operation) => operation.parameters ?? []).concat(shared)) {
    if (parameter.required) continue;
    delete parameter.example;
    delete parameter.examples;
  }

  for (const operation of operations) {
    // Bytes come from a file; those that are text may be typed as well.
    const content = operation.requestBody?.content;
    const bytes = content?.["application/octet-stream"];
    if (bytes && !content["text/plain"]) {
      const text = { ...bytes, schema: { type: "string" } };
      operation.requestBody.content = { "text/plain": text, "application/octet-stream": { schema: bytes.schema } };
    }

    // All errors are alike: they have one row. Headers are shown with an answer.
    const errors = Object.keys(operation.responses).filter((status) => status >= "400");
    for (const status of errors) delete operation.responses[status];
    for (const response of Object.values(operation.responses)) delete response.headers;
    if (errors.length > 0) {
      operation.responses["4xx, 5xx"] = {
        description: `JSON with \`error\`, \`message\` and gRPC's \`code\`: ${errors.join(", ")}.`,
      };
    }
  }
  return spec;
};

// --- Streams: what comes is shown as it comes, until the stream ends or a person stops it.

let pressed; // the operation whose button was pressed last
document.addEventListener("click", ({ target }) => {
  const button = target.closest?.(".execute");
  if (button) pressed = button.closest(".opblock");
}, true);

const mostShown = 100_000; // characters

const isStream = ({ url }, answer) => {
  const type = answer.headers.get("Content-Type") ?? "";
  const ofEtcd = /\/v3[a-z]*\/(watch|lease\/keepalive|election\/observe)$/.test(new URL(url, location.href).pathname);
  return answer.ok && answer.body && (ofEtcd || /x-ndjson|event-stream/.test(type));
};

const readStream = async (answer, leaving) => {
  const panel = document.createElement("div");
  panel.className = "stream";
  const stop = Object.assign(document.createElement("button"), { type: "button", className: "btn", textContent: "Stop" });
  const events = document.createElement("pre");
  panel.append(stop, events);
  pressed?.querySelector(".execute-wrapper, .btn-group")?.after(panel);

  let isStopped = false;
  stop.addEventListener("click", () => { isStopped = true; leaving.abort(); });
  let text = "";
  try {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      text = (text + value).slice(-mostShown);
      events.textContent = text;
      events.scrollTop = events.scrollHeight;
    }
  } catch (error) {
    if (!isStopped) throw error;
  } finally {
    panel.remove();
  }
  const headers = new Headers(answer.headers);
  headers.set("Content-Type", "text/plain; charset=utf-8"); // Lines of JSON are no JSON.
  return new Response(text, { status: answer.status, statusText: answer.statusText, headers });
};

const streamingFetch = async (url, options) => {
  const leaving = new AbortController();
  const answer = await fetch(url, { ...options, signal: leaving.signal });
  return isStream({ url }, answer) ? readStream(answer, leaving) : answer;
};

// --- Logins

// Whether the gateway knows user and password: any answer but 401 and 429 says so, also that this is not allowed.
const refusal = async ({ username = "", password = "" }) => {
  const bytes = new TextEncoder().encode(`${username}:${password}`);
  const Authorization = `Basic ${btoa(String.fromCharCode(...bytes))}`;
  const answer = await fetch("../keys?prefix=%00&count_only=true", { headers: { Authorization }, credentials: "omit" });
  return answer.status === 401 || answer.status === 429 ? (await answer.json()).message : undefined;
};

const authorize = (original, { errActions }) => async (payload) => {
  const login = payload.basic?.value;
  if (login) {
    try {
      const message = await refusal(login);
      if (message) return errActions.newAuthErr({ authId: "basic", level: "error", source: "auth", message });
    } catch (error) {
      return errActions.newAuthErr({ authId: "basic", level: "error", source: "auth", message: String(error) });
    }
  }
  return original(payload);
};

// The field for the user comes first, and is where one types.
new MutationObserver((changes) => {
  const added = changes.flatMap((change) => [...change.addedNodes]);
  added.map((node) => node.querySelector?.(".modal-ux #auth-basic-username")).find(Boolean)?.focus();
}).observe(document, { childList: true, subtree: true });

SwaggerUIBundle({
  dom_id: "#swagger-ui",
  url: "../openapi.json",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: -1,
  displayRequestDuration: true,
  filter: true,
  tryItOutEnabled: true,
  // A password lives as long as the page: in its memory and nowhere else.
  persistAuthorization: false,
  // No other host validates, or hears of, the description.
  validatorUrl: null,
  plugins: [
    () => ({
      statePlugins: {
        auth: { wrapActions: { authorize } },
        spec: {
          wrapActions: {
            updateJsonSpec: (update) => (spec) => update(adapt(spec)),
            // The type that the page shows is the one that is asked for, also before anybody has chosen.
            execute: (execute, { oas3Actions, oas3Selectors }) => (request) => {
              const { operation, path, method } = request;
              const value = operation?.getIn?.(["responses", "200", "content"])?.keySeq().first();
              if (value && !oas3Selectors.responseContentType(path, method)) {
                oas3Actions.setResponseContentType({ value, path, method });
              }
              return execute(request);
            },
          },
        },
      },
    }),
  ],
  requestInterceptor: (request) => {
    // Only what was given to "Authorize" counts, not a login that the browser keeps: the browser would ask for one by
    // itself at each 401, and no "Logout" here would end it.
    if (!request.loadSpec) {
      request.credentials = "omit";
      request.userFetch = streamingFetch;
    }
    return request;
  },
});
