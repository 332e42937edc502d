// A check that a text is well-formed XML, as far as our charts use it: elements, attributes, character data,
// the five named entities.
#pragma once

#include <gtest/gtest.h>

#include <cctype>
#include <string>
#include <vector>

namespace vretnet::tools {

inline void expect_well_formed(const std::string& xml) {
  std::vector<std::string> open;
  int roots = 0;
  std::size_t at = 0;
  const auto place = [&] { return " at byte " + std::to_string(at) + ": " + xml.substr(at, 60); };
  const auto check_text = [&](const std::string& text) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      EXPECT_NE(text[i], '<') << text;
      EXPECT_TRUE(static_cast<unsigned char>(text[i]) >= 0x20 || std::isspace(text[i]))
          << "control character";
      if (text[i] != '&') continue;
      const std::string entity = text.substr(i, text.find(';', i) - i + 1);
      EXPECT_TRUE(entity == "&amp;" || entity == "&lt;" || entity == "&gt;" || entity == "&quot;" ||
                  entity == "&apos;")
          << entity;
    }
  };
  while (at < xml.size()) {
    const std::size_t tag = xml.find('<', at);
    const std::string text = xml.substr(at, tag - at);
    check_text(text);
    EXPECT_TRUE(!open.empty() || text.find_first_not_of(" \n") == std::string::npos)
        << "text outside" << place();
    if (tag == std::string::npos) break;
    at = tag;
    std::size_t i = tag + 1;
    const bool closes = xml[i] == '/';
    i += closes;
    std::string name;
    while (i < xml.size() && std::isalnum(static_cast<unsigned char>(xml[i]))) name += xml[i++];
    ASSERT_FALSE(name.empty()) << "no element" << place();
    std::vector<std::string> attributes;
    while (i < xml.size() && std::isspace(static_cast<unsigned char>(xml[i]))) {
      while (i < xml.size() && std::isspace(static_cast<unsigned char>(xml[i]))) ++i;
      if (xml[i] == '/' || xml[i] == '>') break;
      const std::size_t equals = xml.find("=\"", i);
      ASSERT_NE(equals, std::string::npos) << "an attribute without value" << place();
      const std::size_t end = xml.find('"', equals + 2);
      ASSERT_NE(end, std::string::npos) << "an open quote" << place();
      attributes.push_back(xml.substr(i, equals - i));
      check_text(xml.substr(equals + 2, end - equals - 2));
      i = end + 1;
    }
    for (std::size_t a = 0; a < attributes.size(); ++a) {
      for (std::size_t b = 0; b < a; ++b) EXPECT_NE(attributes[a], attributes[b]) << "twice" << place();
    }
    const bool empty = i < xml.size() && xml[i] == '/';
    i += empty;
    ASSERT_TRUE(i < xml.size() && xml[i] == '>') << "an open tag" << place();
    if (closes) {
      ASSERT_FALSE(open.empty()) << place();
      ASSERT_EQ(open.back(), name) << place();
      open.pop_back();
    } else {
      roots += open.empty();
      if (!empty) open.push_back(name);
    }
    at = i + 1;
  }
  EXPECT_TRUE(open.empty()) << open.back() << " stays open";
  EXPECT_EQ(roots, 1);
}

}  // namespace vretnet::tools
