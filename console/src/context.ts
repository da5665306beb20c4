/** What the pages of somebody who is signed in share. */

import { createContext } from "preact";
import { useContext } from "preact/hooks";

import type { Application } from "./api";

export interface Place {
  /** The application that is looked at. */
  app: string;
  applications: Application[];
  reloadApplications: () => void;
}

export const PlaceContext = createContext<Place>({ app: "", applications: [], reloadApplications: () => {} });

export const usePlace = (): Place => useContext(PlaceContext);
