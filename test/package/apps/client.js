// The client's half: renders again over what the server sent, and says whether the two agree.
import { post } from "./post.js";
import { render } from "./server.js";

post(async () => {
  const element = document.querySelector("#rendered");
  const server = element.textContent;
  element.textContent = render();
  return { server, client: element.textContent };
});
