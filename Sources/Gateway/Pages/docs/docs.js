// Starts Swagger UI on the description that this gateway serves beside the page.
"use strict";

// Swagger UI's own dark colours hang on a class.
const darkness = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", darkness.matches);
darkness.addEventListener("change", follow);
follow();

// Makes a form of what is a description.
const adapt = (spec) => {
  const shared = spec.components?.parameters ?? {};
  const resolve = (parameter) => shared[parameter.$ref?.split("/").pop()] ?? parameter;
  const operations = Object.values(spec.paths).flatMap(Object.values).filter((operation) => operation.responses);

  for (const operation of operations) {
    const parameters = (operation.parameters ?? []).map((parameter) => ({ ...resolve(parameter) }));
    const mayBeEndless = parameters.some((parameter) => parameter.name === "heartbeat");
    for (const parameter of parameters) {
      // Fields are filled with examples, and what is in a field is sent.
      if (!parameter.required) {
        delete parameter.example;
        delete parameter.examples;
      }
      // An answer is shown once it has ended.
      if (mayBeEndless && parameter.name === "Request-Timeout") parameter.example = 5;
    }
    if (operation.parameters) operation.parameters = parameters;

    // Bytes come from a file; those that are text may be typed as well.
    const content = operation.requestBody?.content;
    const bytes = content?.["application/octet-stream"];
    if (bytes && !content["text/plain"]) {
      const text = { ...bytes, schema: { type: "string" } };
      operation.requestBody.content = { "text/plain": text, "application/octet-stream": { schema: bytes.schema } };
    }
  }
  return spec;
};

SwaggerUIBundle({
  dom_id: "#swagger-ui",
  url: "../openapi.json",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  tryItOutEnabled: true,
  // A password lives as long as the page: in its memory and nowhere else.
  persistAuthorization: false,
  // No other host validates, or hears of, the description.
  validatorUrl: null,
  plugins: [
    () => ({
      statePlugins: { spec: { wrapActions: { updateJsonSpec: (update) => (spec) => update(adapt(spec)) } } },
    }),
  ],
  requestInterceptor: (request) => {
    // Only what was given to "Authorize" counts, not a login that the browser keeps: the browser would ask for one by
    // itself at each 401, and no "Logout" here would end it.
    if (!request.loadSpec) request.credentials = "omit";
    return request;
  },
});
