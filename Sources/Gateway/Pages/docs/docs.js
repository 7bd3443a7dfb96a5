// Starts Swagger UI on the description that this gateway serves beside the page.
"use strict";

// Swagger UI's own dark colours hang on a class.
const darkness = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", darkness.matches);
darkness.addEventListener("change", follow);
follow();

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
  requestInterceptor: (request) => {
    // Only what was given to "Authorize" counts, not a login that the browser keeps: the browser would ask for one by
    // itself at each 401, and no "Logout" here would end it.
    if (!request.loadSpec) request.credentials = "omit";
    return request;
  },
});
