import { render } from "preact";

import { applyLanguage } from "./i18n";
import { Root } from "./root";
import { applyTheme } from "./theme";
import "./styles.css";

applyTheme();
applyLanguage();
render(<Root />, document.getElementById("app")!);
