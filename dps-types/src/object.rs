//! Methods of the types that hold a JSON object: they are read and changed by name, and are no maps of serde_json themselves.

/// Gives a tuple struct around `serde_json::Map` the methods of an object.
macro_rules! json_object {
    ($Name:ident) => {
        impl $Name {
            /// The value of a member.
            pub fn get(&self, name: &str) -> Option<&serde_json::Value> {
                self.0.get(name)
            }

            /// The value of a member, to change it.
            pub fn get_mut(&mut self, name: &str) -> Option<&mut serde_json::Value> {
                self.0.get_mut(name)
            }

            /// Sets a member, and returns its previous value.
            pub fn insert(
                &mut self,
                name: impl Into<String>,
                value: impl Into<serde_json::Value>,
            ) -> Option<serde_json::Value> {
                self.0.insert(name.into(), value.into())
            }

            /// Removes a member, and returns its value.
            pub fn remove(&mut self, name: &str) -> Option<serde_json::Value> {
                self.0.remove(name)
            }

            /// Returns true if there is such a member.
            pub fn contains_key(&self, name: &str) -> bool {
                self.0.contains_key(name)
            }

            /// The names of the members, in their order.
            pub fn keys(&self) -> impl Iterator<Item = &String> {
                self.0.keys()
            }

            /// The members, in their order.
            pub fn iter(&self) -> impl Iterator<Item = (&String, &serde_json::Value)> {
                self.0.iter()
            }

            /// The number of members.
            pub fn len(&self) -> usize {
                self.0.len()
            }

            /// Returns true if there are no members.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// The members as a map.
            pub fn as_map(&self) -> &serde_json::Map<String, serde_json::Value> {
                &self.0
            }

            /// The members as a map, to change them.
            pub fn as_map_mut(&mut self) -> &mut serde_json::Map<String, serde_json::Value> {
                &mut self.0
            }

            /// The members as a map.
            pub fn into_map(self) -> serde_json::Map<String, serde_json::Value> {
                self.0
            }
        }

        /// A member by its name. A missing one is null.
        impl std::ops::Index<&str> for $Name {
            type Output = serde_json::Value;

            fn index(&self, name: &str) -> &serde_json::Value {
                self.0.get(name).unwrap_or(&serde_json::Value::Null)
            }
        }
    };
}
